//! One XML part: text in order, a piece for each paragraph, cell or property.

use crate::extract::Findings;
use crate::fuel::Spent;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A piece is told at the latest when it is so long.
const MOST: usize = 32 << 10;

/// Elements whose end parts words. What is not among them (runs, spans, links) does not.
const BREAKS: &[&str] = &[
    "p",
    "h",
    "tc",
    "tr",
    "c",
    "v",
    "f",
    "row",
    "si",
    "br",
    "cr",
    "tab",
    "sp",
    "comment",
    "table-cell",
    "line-break",
    "list-item",
    "title",
    "subject",
    "creator",
    "description",
    "keywords",
    "lastModifiedBy",
    "category",
    "company",
    "manager",
    "application",
    "note-citation",
    "text",
    "author",
    "li",
    "navLabel",
    "s",
    "pt",
    "is",
    "definedName",
];

/// Elements whose text is a measure, not words.
const MUTE: &[&str] = &["posOffset", "align", "pctWidth", "pctHeight", "relativeFrom", "binData", "binary-data"];

/// Elements of the core properties, and what they are called here.
const PROPERTIES: &[(&str, &str)] = &[
    ("title", "title"),
    ("subject", "subject"),
    ("creator", "author"),
    ("initial-creator", "author"),
    ("lastModifiedBy", "last-author"),
    ("created", "created"),
    ("creation-date", "created"),
    ("modified", "modified"),
    ("date", "modified"),
    ("keywords", "keywords"),
    ("keyword", "keywords"),
    ("description", "description"),
    ("Company", "company"),
];

struct Part<'f> {
    found: &'f mut dyn Findings,
    piece: String,
    /// The last element that opened.
    element: String,
    properties: bool,
    /// True in a cell whose value is the number of a shared string, which is told with the shared strings.
    shared: bool,
    links: bool,
}

/// Tells the text of the part `name`, in lower case.
pub(super) fn read(name: &str, xml: &str, found: &mut dyn Findings) -> Result<(), Spent> {
    let properties = name.starts_with("docprops/") || name == "meta.xml" || name.ends_with(".opf");
    let links = name.ends_with(".rels");
    let mut part = Part { found, piece: String::new(), element: String::new(), properties, shared: false, links };
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    (config.check_end_names, config.allow_unmatched_ends, config.allow_dangling_amp) = (false, true, true);
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => part.open(&tag)?,
            Ok(Event::Empty(tag)) => {
                part.open(&tag)?;
                part.close(tag.local_name().as_ref())?;
            }
            Ok(Event::End(tag)) => part.close(tag.local_name().as_ref())?,
            Ok(Event::Text(text)) => part.text(&text.into_inner())?,
            Ok(Event::CData(text)) => part.text(&text.into_inner())?,
            Ok(Event::GeneralRef(reference)) => part.reference(&reference.into_inner())?,
            Ok(Event::Eof) => return part.flush(),
            Ok(_) => {}
            Err(e) => {
                part.flush()?;
                let fault = crate::fault::Fault::new(reader.error_position(), "office", format!("{name}: {e}"));
                part.found.fault(fault);
                return Ok(());
            }
        }
    }
}

impl Part<'_> {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), Spent> {
        let name = tag.local_name().as_ref().to_owned();
        let attribute = |key: &str| {
            let value = tag.attributes().flatten().find(|a| a.key.local_name().as_ref() == key)?;
            Some(value.value.into_owned())
        };
        match name.as_str() {
            "c" => self.shared = attribute("t").is_some_and(|t| t == "s"),
            "Relationship" if self.links && attribute("TargetMode").is_some_and(|mode| mode == "External") => {
                self.attribute(attribute("Target"))?;
            }
            "sheet" | "docPr" | "cNvPr" => {
                self.attribute(attribute("name"))?;
                self.attribute(attribute("descr"))?;
            }
            "a" => self.attribute(attribute("href"))?,
            "comment" | "ins" | "del" => self.attribute(attribute("author"))?,
            _ => {}
        }
        self.element = name;
        Ok(())
    }

    fn attribute(&mut self, value: Option<String>) -> Result<(), Spent> {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return Ok(()) };
        let value = quick_xml::escape::unescape(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
        self.found.text(value.get(..value.floor_char_boundary(MOST)).unwrap_or(&value), None)
    }

    fn close(&mut self, name: &str) -> Result<(), Spent> {
        if self.properties
            && let Some((_, property)) = PROPERTIES.iter().find(|(element, _)| *element == name)
        {
            let value = self.piece.trim();
            if !value.is_empty() {
                self.found.property(property, value);
            }
            return self.flush();
        }
        if name == "s" && !self.properties {
            self.piece.push(' ');
            return Ok(());
        }
        if self.properties || BREAKS.contains(&name) { self.flush() } else { Ok(()) }
    }

    fn text(&mut self, text: &str) -> Result<(), Spent> {
        let number = self.shared && self.element == "v";
        if number || MUTE.contains(&self.element.as_str()) || (self.piece.is_empty() && text.trim().is_empty()) {
            return Ok(());
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, next) = rest.split_at_checked(rest.floor_char_boundary(MOST)).unwrap_or((rest, ""));
            self.piece.push_str(piece);
            if self.piece.len() >= MOST {
                self.flush()?;
            }
            rest = next;
        }
        Ok(())
    }

    /// A reference between two stretches of text: they are one word.
    fn reference(&mut self, name: &str) -> Result<(), Spent> {
        let whole = format!("&{name};");
        let text = quick_xml::escape::unescape(&whole).map_or_else(|_| whole.clone(), std::borrow::Cow::into_owned);
        self.text(&text)
    }

    fn flush(&mut self) -> Result<(), Spent> {
        let told = if self.piece.trim().is_empty() { Ok(()) } else { self.found.text(&self.piece, None) };
        self.piece.clear();
        told
    }
}
