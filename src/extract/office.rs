//! Office packages: the text of DOCX, XLSX, PPTX, OpenDocument and EPUB; what they embed, as members.
//!
//! Sources: ECMA-376 (WordprocessingML, SpreadsheetML, PresentationML, core properties), OASIS ODF 1.3, EPUB 3.3. Every XML
//! part is read, so that comments, notes, headers, hidden sheets and custom data are found; styles and themes are not
//! text. Checked against the corpus' text truth (Tika's tests, each string found by unzip and XML tools).

mod part;

use super::zip::{entry, member, open};
use super::{Findings, decode, html};
use crate::bytes::offset;
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;

/// What a part costs besides its bytes.
const STEP: u64 = 512;

/// True for packages of documents.
pub fn accepts(identity: &Identity) -> bool {
    const STARTS: &[&str] = &[
        "application/vnd.openxmlformats-officedocument.",
        "application/vnd.oasis.opendocument.",
        "application/vnd.sun.xml.",
        "application/epub+zip",
    ];
    STARTS.iter().any(|start| identity.mime.starts_with(start))
}

/// Reads a package.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more is wanted.
pub fn extract(
    content: &Content<'_>,
    identity: &Identity,
    found: &mut dyn Findings,
    fuel: &mut Fuel,
) -> Result<(), Spent> {
    let Ok(mut archive) = open(content) else {
        return super::zip::extract(content, identity, found, fuel);
    };
    let mut order = Vec::new();
    for number in 0..archive.len() {
        fuel.burn(STEP)?;
        match entry(&mut archive, number) {
            Ok(entry) => order.push((rank(&entry.name), number, entry.name)),
            Err(what) => found.fault(Fault::new(0, "office", format!("part {number}: {what}"))),
        }
    }
    order.sort();
    for (_, number, name) in order {
        if !is_text(&name) {
            if let Some(member) = member(content, &mut archive, number, found, fuel)? {
                found.member(member, fuel)?;
            }
            continue;
        }
        if is_style(&name) {
            continue;
        }
        let (bytes, fault) = match archive.by_index(number) {
            Ok(file) => decode(file, "office", fuel)?,
            Err(e) => (Vec::new(), Some(Fault::new(0, "office", format!("{name}: {e}")))),
        };
        if let Some(fault) = fault {
            found.fault(Fault { what: format!("{name}: {}", fault.what), ..fault });
        }
        read(&name, &bytes, found, fuel)?;
    }
    Ok(())
}

fn read(name: &str, bytes: &[u8], found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    fuel.burn(offset(bytes.len()))?;
    let (encoding, mark) = super::charset::detect(bytes);
    let body = bytes.get(mark..).unwrap_or_default();
    let text = super::charset::page(encoding).decode_without_bom_handling(body).0;
    let lower = name.to_ascii_lowercase();
    if [".xhtml", ".html", ".htm"].iter().any(|end| lower.ends_with(end)) {
        return html::run(&text, false, found, fuel);
    }
    part::read(&lower, &text, found)
}

fn is_text(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".vml"].iter().any(|end| lower.ends_with(end))
}

/// Parts that say how text looks.
fn is_style(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "[Content_Types].xml",
        "fontTable.xml",
        "webSettings.xml",
        "settings.xml",
        "tableStyles.xml",
        "presProps.xml",
        "viewProps.xml",
        "calcChain.xml",
        "manifest.xml",
        "numbering.xml",
        "container.xml",
    ];
    let last = name.rsplit('/').next().unwrap_or(name);
    let styles = last == "styles.xml" && (name.starts_with("word/") || name.starts_with("xl/"));
    NAMES.contains(&last) || styles || name.contains("theme/")
}

/// The order of reading: properties, the body, then everything by name with its numbers in order.
fn rank(name: &str) -> (u8, String, u64) {
    let first = match name {
        _ if name.starts_with("docProps/") || name == "meta.xml" => 0,
        "word/document.xml" | "content.xml" | "xl/workbook.xml" => 1,
        "xl/sharedStrings.xml" => 2,
        _ => 3,
    };
    let digits = |c: char| c.is_ascii_digit();
    let stem: String = name.chars().filter(|c| !digits(*c)).collect();
    let number = name.chars().filter(|c| digits(*c)).take(12).collect::<String>().parse().unwrap_or(0);
    (first, stem, number)
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;
    use proptest::prelude::*;
    use std::io::{Cursor, Write};

    fn package(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in parts {
            writer.start_file(*name, ::zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn run(bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        let _ = extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(1 << 24));
        found
    }

    fn document() -> Vec<u8> {
        package(&[
            (
                "word/document.xml",
                "<w:document><w:p><w:r><w:t>wo</w:t></w:r><w:r><w:t>rd &amp; m&#111;re</w:t></w:r></w:p><w:p><w:t>next</w:t></w:p></w:document>",
            ),
            ("docProps/core.xml", "<cp:p><dc:title>A title</dc:title><dc:creator>Jane</dc:creator></cp:p>"),
            ("word/media/image1.png", "PNG"),
        ])
    }

    #[test]
    fn runs_join_and_paragraphs_part() {
        let found = run(&document());
        assert_eq!(found.text.body, "A title\nJane\nword & more\nnext\n");
        assert_eq!(found.properties, [("title", "A title".to_owned()), ("author", "Jane".to_owned())]);
        assert_eq!(found.members[0].0, "word/media/image1.png");
    }

    #[test]
    fn cells_give_their_strings_and_numbers() {
        let found = run(&package(&[
            ("xl/sharedStrings.xml", "<sst><si><t>shared</t></si><si><r><t>ri</t></r><r><t>ch</t></r></si></sst>"),
            (
                "xl/worksheets/sheet1.xml",
                "<sheetData><row><c t=\"s\"><v>1</v></c><c><v>42.5</v></c><c t=\"inlineStr\"><is><t>inline</t></is></c></row></sheetData>",
            ),
        ]));
        assert_eq!(found.text.body, "shared\nrich\n42.5\ninline\n");
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..900, bit in 0u8..8, text in "[<>/&;a-z:=\" ]{0,99}") {
            let mut bytes = document();
            let len = bytes.len();
            bytes[at % len] ^= 1 << bit;
            run(&bytes);
            run(&package(&[("content.xml", &text)]));
        }
    }
}
