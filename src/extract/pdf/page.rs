//! Content streams: strings where they are shown, with the gaps that a reader sees.
//!
//! Source: ISO 32000-1, 9.3 and 9.4 (text state, positioning, showing), 8.10 (form XObjects). Where a string starts
//! relative to the end of the one before decides what stands between them: nothing, a space or a line's end.

use super::font::Font;
use super::lexer::{Lexer, Token};
use super::{decoded, dictionary, resolve};
use crate::bytes::offset;
use crate::extract::{Findings, plain};
use crate::fuel::{Fuel, Spent};
use lopdf::{Dictionary, Document, Object, ObjectId};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A gap of so much of the font's size is a space; fonts' own spaces are a quarter, kerning is below a tenth.
const GAP: f32 = 0.14;
/// A step of so much of the font's size off the line is a new line; superscripts are below it.
const OFF_LINE: f32 = 0.45;
/// Forms within forms.
const DEEPEST: u32 = 8;
/// Operands that no operator takes are dropped.
const MOST_OPERANDS: usize = 4096;

/// Reads all pages in order.
pub(super) fn read_all(doc: &Document, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let mut reader = Reader { doc, fonts: HashMap::new(), text: String::new(), end: None };
    let mut pages: Vec<ObjectId> = doc.page_iter().collect();
    if pages.is_empty() {
        let is_page =
            |(id, object): (&ObjectId, &Object)| object.as_dict().is_ok_and(|d| d.has_type(b"Page")).then_some(*id);
        pages = doc.objects.iter().filter_map(is_page).collect();
    }
    for page in pages {
        fuel.burn(64)?;
        let Ok(dict) = doc.get_dictionary(page) else { continue };
        let read = reader.page(dict, fuel);
        let text = std::mem::take(&mut reader.text);
        plain::pieces(&text, None, found, fuel)?;
        plain::pieces(&rejoined(&text), None, found, fuel)?;
        read?;
    }
    Ok(())
}

/// The words that a hyphen cuts at a line's end, whole. They are told besides the halves: whether the hyphen is the
/// word's own is not known.
fn rejoined(text: &str) -> String {
    let mut words = String::new();
    let mut lines = text.lines().peekable();
    while let (Some(line), Some(next)) = (lines.next(), lines.peek()) {
        let head = line.trim_end().strip_suffix(['-', '\u{2010}', '\u{ad}']);
        let head = head
            .and_then(|line| line.rsplit(char::is_whitespace).next())
            .filter(|head| head.ends_with(char::is_alphabetic));
        let tail = next.split_whitespace().next().filter(|tail| tail.starts_with(char::is_lowercase));
        if let (Some(head), Some(tail)) = (head, tail) {
            words.push_str(head);
            words.push_str(tail);
            words.push('\n');
        }
    }
    words
}

type Matrix = [f32; 6];
const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// First `m`, then `n`.
fn times(m: Matrix, n: Matrix) -> Matrix {
    let [a, b, c, d, e, f] = m;
    let [g, h, i, j, k, l] = n;
    [a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + l]
}

#[derive(Clone)]
struct State {
    ctm: Matrix,
    font: Option<Rc<Font>>,
    size: f32,
    char_space: f32,
    word_space: f32,
    scale: f32,
    leading: f32,
}

impl State {
    fn new(ctm: Matrix) -> Self {
        Self { ctm, font: None, size: 1.0, char_space: 0.0, word_space: 0.0, scale: 1.0, leading: 0.0 }
    }
}

struct Reader<'d> {
    doc: &'d Document,
    fonts: HashMap<ObjectId, Rc<Font>>,
    text: String,
    /// Where the last string ended.
    end: Option<(f32, f32)>,
}

/// One content stream on its way.
struct Stream<'s> {
    resources: Option<&'s Dictionary>,
    named: BTreeMap<Vec<u8>, Rc<Font>>,
    state: State,
    saved: Vec<State>,
    text_matrix: Matrix,
    line_matrix: Matrix,
    depth: u32,
}

impl<'d> Reader<'d> {
    fn page(&mut self, dict: &'d Dictionary, fuel: &mut Fuel) -> Result<(), Spent> {
        let mut content = Vec::new();
        match dict.get(b"Contents").map(|object| resolve(self.doc, object)) {
            Ok(Object::Array(list)) => {
                for part in list {
                    self.append(resolve(self.doc, part), &mut content, fuel)?;
                }
            }
            Ok(object) => self.append(object, &mut content, fuel)?,
            Err(_) => {}
        }
        self.end = None;
        self.stream(&content, self.resources(dict), IDENTITY, 0, fuel)
    }

    fn append(&self, object: &Object, content: &mut Vec<u8>, fuel: &mut Fuel) -> Result<(), Spent> {
        if let Object::Stream(stream) = object {
            content.extend(decoded(stream, fuel)?.unwrap_or_default());
            content.push(b'\n');
        }
        Ok(())
    }

    /// 7.7.3.4: a page without resources has its parent's.
    fn resources(&self, page: &'d Dictionary) -> Option<&'d Dictionary> {
        let mut here = page;
        for _ in 0..32 {
            if let Some(resources) = dictionary(self.doc, here, b"Resources") {
                return Some(resources);
            }
            here = dictionary(self.doc, here, b"Parent")?;
        }
        None
    }

    fn stream(
        &mut self,
        content: &[u8],
        resources: Option<&'d Dictionary>,
        ctm: Matrix,
        depth: u32,
        fuel: &mut Fuel,
    ) -> Result<(), Spent> {
        fuel.burn(offset(content.len()))?;
        let (named, saved, state) = (BTreeMap::new(), Vec::new(), State::new(ctm));
        let mut stream = Stream { resources, named, state, saved, text_matrix: IDENTITY, line_matrix: IDENTITY, depth };
        let mut lexer = Lexer::new(content);
        let mut operands: Vec<Token<'_>> = Vec::new();
        while let Some(token) = lexer.next() {
            match token {
                Token::Operator(operator) => {
                    self.operator(&mut stream, operator, &operands, fuel)?;
                    operands.clear();
                }
                token if operands.len() < MOST_OPERANDS => operands.push(token),
                _ => {}
            }
        }
        Ok(())
    }

    fn operator(
        &mut self,
        stream: &mut Stream<'d>,
        operator: &[u8],
        operands: &[Token<'_>],
        fuel: &mut Fuel,
    ) -> Result<(), Spent> {
        let n = |at: usize| match operands.get(at) {
            Some(Token::Number(n)) => *n,
            _ => 0.0,
        };
        let state = &mut stream.state;
        match operator {
            b"q" if stream.saved.len() < 256 => stream.saved.push(state.clone()),
            b"Q" => stream.state = stream.saved.pop().unwrap_or_else(|| stream.state.clone()),
            b"cm" => state.ctm = times([n(0), n(1), n(2), n(3), n(4), n(5)], state.ctm),
            b"BT" => (stream.text_matrix, stream.line_matrix) = (IDENTITY, IDENTITY),
            b"Tf" => self.select(stream, operands, n(1), fuel)?,
            b"Tc" => state.char_space = n(0),
            b"Tw" => state.word_space = n(0),
            b"Tz" => state.scale = n(0) / 100.0,
            b"TL" => state.leading = n(0),
            b"Td" => stream.advance_line(n(0), n(1)),
            b"TD" => {
                state.leading = -n(1);
                stream.advance_line(n(0), n(1));
            }
            b"Tm" => {
                stream.line_matrix = [n(0), n(1), n(2), n(3), n(4), n(5)];
                stream.text_matrix = stream.line_matrix;
            }
            b"T*" => stream.next_line(),
            b"Tj" | b"TJ" => self.show(stream, operands),
            b"'" => {
                stream.next_line();
                self.show(stream, operands);
            }
            b"\"" => {
                (state.word_space, state.char_space) = (n(0), n(1));
                stream.next_line();
                self.show(stream, operands.get(2..).unwrap_or_default());
            }
            b"Do" => self.form(stream, operands, fuel)?,
            _ => {}
        }
        Ok(())
    }

    fn select(
        &mut self,
        stream: &mut Stream<'d>,
        operands: &[Token<'_>],
        size: f32,
        fuel: &mut Fuel,
    ) -> Result<(), Spent> {
        let Some(Token::Name(name)) = operands.first() else { return Ok(()) };
        let name = unescaped(name);
        stream.state.size = size;
        if let Some(font) = stream.named.get(name.as_ref()) {
            stream.state.font = Some(Rc::clone(font));
            return Ok(());
        }
        let fonts = stream.resources.and_then(|resources| dictionary(self.doc, resources, b"Font"));
        let Some(object) = fonts.and_then(|fonts| fonts.get(&name).ok()) else { return Ok(()) };
        let known = object.as_reference().ok();
        let font = match known.and_then(|id| self.fonts.get(&id)) {
            Some(font) => Rc::clone(font),
            None => {
                let Ok(dict) = resolve(self.doc, object).as_dict() else { return Ok(()) };
                let font = Rc::new(Font::read(self.doc, dict, fuel)?);
                known.map(|id| self.fonts.insert(id, Rc::clone(&font)));
                font
            }
        };
        stream.named.insert(name.into_owned(), Rc::clone(&font));
        stream.state.font = Some(font);
        Ok(())
    }

    /// Shows strings; numbers between them move the place by thousandths of the size.
    fn show(&mut self, stream: &mut Stream<'_>, operands: &[Token<'_>]) {
        for operand in operands {
            match operand {
                Token::Number(n) => stream.shift(-n / 1000.0 * stream.state.size * stream.state.scale),
                Token::Text(bytes) => self.string(stream, bytes),
                _ => {}
            }
        }
    }

    fn string(&mut self, stream: &mut Stream<'_>, bytes: &[u8]) {
        let Some(font) = stream.state.font.clone() else { return };
        self.gap(stream);
        let State { size, char_space, word_space, scale, .. } = stream.state;
        let (mut advance, text) = (0f32, &mut self.text);
        font.show(bytes, |piece, width, space| {
            text.push_str(piece);
            let extra = char_space + if space { word_space } else { 0.0 };
            advance += (width / 1000.0 * size + extra) * scale;
        });
        stream.shift(advance);
        let [.., x, y] = times(stream.text_matrix, stream.state.ctm);
        self.end = Some((x, y));
    }

    /// Writes what stands between the last string and one that starts here.
    fn gap(&mut self, stream: &Stream<'_>) {
        let [a, b, c, d, x, y] = times(stream.text_matrix, stream.state.ctm);
        let Some((end_x, end_y)) = self.end else {
            return self.separate('\n');
        };
        let (dx, dy) = (x - end_x, y - end_y);
        let (run, rise) = (a.hypot(b), c.hypot(d));
        if run <= 0.0 || rise <= 0.0 {
            return;
        }
        let along = (dx * a + dy * b) / run / (run * stream.state.size.abs()).max(f32::MIN_POSITIVE);
        let across = (dy * a - dx * b) / run / (rise * stream.state.size.abs()).max(f32::MIN_POSITIVE);
        if across.abs() > OFF_LINE || along < -1.0 {
            self.separate('\n');
        } else if along > GAP {
            self.separate(' ');
        }
    }

    fn separate(&mut self, mark: char) {
        let ends_white = self.text.ends_with(char::is_whitespace);
        if !self.text.is_empty() && (!ends_white || (mark == '\n' && self.text.ends_with(' '))) {
            self.text.push(mark);
        }
    }

    /// 8.10: a form is a content stream of its own.
    fn form(&mut self, stream: &Stream<'d>, operands: &[Token<'_>], fuel: &mut Fuel) -> Result<(), Spent> {
        let Some(Token::Name(name)) = operands.first() else { return Ok(()) };
        let forms = stream.resources.and_then(|resources| dictionary(self.doc, resources, b"XObject"));
        let object = forms.and_then(|forms| forms.get(&unescaped(name)).ok()).map(|object| resolve(self.doc, object));
        let Some(Object::Stream(form)) = object else { return Ok(()) };
        let is_form = form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Form");
        if !is_form || stream.depth >= DEEPEST {
            return Ok(());
        }
        let matrix = form.dict.get(b"Matrix").ok().and_then(|m| matrix(self.doc, resolve(self.doc, m)));
        let resources = dictionary(self.doc, &form.dict, b"Resources").or(stream.resources);
        let Some(content) = decoded(form, fuel)? else { return Ok(()) };
        let ctm = times(matrix.unwrap_or(IDENTITY), stream.state.ctm);
        self.stream(&content, resources, ctm, stream.depth.saturating_add(1), fuel)
    }
}

fn matrix(doc: &Document, object: &Object) -> Option<Matrix> {
    let list = object.as_array().ok()?;
    let numbers: Vec<f32> = list.iter().filter_map(|n| resolve(doc, n).as_float().ok()).collect();
    numbers.try_into().ok()
}

/// 7.3.5: `#20` in a name is a byte.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'#') {
        return Cow::Borrowed(name);
    }
    let (mut out, mut rest) = (Vec::new(), name);
    while let Some((byte, next)) = rest.split_first() {
        let digits = next.get(..2).and_then(|d| std::str::from_utf8(d).ok()).filter(|_| *byte == b'#');
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(code) => {
                out.push(code);
                rest = next.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = next;
            }
        }
    }
    Cow::Owned(out)
}

impl Stream<'_> {
    fn advance_line(&mut self, x: f32, y: f32) {
        self.line_matrix = times([1.0, 0.0, 0.0, 1.0, x, y], self.line_matrix);
        self.text_matrix = self.line_matrix;
    }

    fn next_line(&mut self) {
        self.advance_line(0.0, -self.state.leading);
    }

    fn shift(&mut self, x: f32) {
        self.text_matrix = times([1.0, 0.0, 0.0, 1.0, x, 0.0], self.text_matrix);
    }
}
