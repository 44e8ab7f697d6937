//! Extensions: which belong to which type, and which name lies about its content.

use super::Identity;

/// Groups of types and of extensions that are usual for each of them. An extension is known if a row names it.
static GROUPS: &[(&[&str], &[&str])] = &[
    (&["image/jpeg"], &["jpg", "jpeg", "jpe", "jfif", "thm"]),
    (&["image/png", "image/apng"], &["png", "apng"]),
    (&["image/gif"], &["gif"]),
    (&["image/bmp"], &["bmp", "dib"]),
    (&["image/tiff"], &["tif", "tiff", "dng", "nef", "cr2", "arw"]),
    (&["image/webp"], &["webp"]),
    (&["image/heic", "image/avif"], &["heic", "heif", "avif"]),
    (&["application/pdf"], &["pdf"]),
    (
        &[
            "application/zip",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ],
        &["zip"],
    ),
    (&["application/zip", "application/x-ole-storage"], &["docx", "xlsx", "pptx", "docm", "xlsm", "pptm"]),
    (&["application/zip"], &["odt", "ods", "odp", "odg", "epub", "jar", "apk", "war", "xpi", "kmz", "whl", "cbz"]),
    (&["application/java-archive"], &["jar", "apk", "war", "ear", "zip", "aar"]),
    (&["application/vnd.android.package-archive"], &["apk", "zip", "jar", "aab"]),
    (
        &["application/x-ole-storage", "application/msword", "text/rtf", "text/html", "message/rfc822", "text/plain"],
        &["doc", "dot"],
    ),
    (
        &["application/x-ole-storage", "application/vnd.ms-excel", "text/html", "application/xml", "text/plain"],
        &["xls", "xlt", "xla"],
    ),
    (&["application/x-ole-storage", "application/vnd.ms-powerpoint"], &["ppt", "pps", "pot"]),
    (&["application/x-ole-storage", "application/vnd.ms-outlook", "message/rfc822"], &["msg"]),
    (&["application/x-ole-storage"], &["msi", "msp"]),
    (&["text/rtf"], &["rtf", "doc"]),
    (&["application/gzip"], &["gz", "tgz", "svgz"]),
    (&["application/x-bzip2"], &["bz2", "tbz", "tbz2"]),
    (&["application/x-xz"], &["xz", "txz"]),
    (&["application/zstd"], &["zst", "tzst"]),
    (&["application/x-7z-compressed"], &["7z"]),
    (&["application/vnd.rar"], &["rar", "cbr"]),
    (&["application/x-tar"], &["tar", "ova", "gem"]),
    (&["application/vnd.sqlite3"], &["sqlite", "sqlite3"]),
    (&["video/mp4", "audio/mp4", "video/quicktime", "video/3gpp"], &["mp4", "m4v", "m4a", "mov", "3gp", "3g2", "qt"]),
    (&["video/x-msvideo", "video/avi"], &["avi"]),
    (&["video/x-matroska", "video/webm"], &["mkv", "webm"]),
    (&["audio/x-wav", "audio/vnd.wave"], &["wav"]),
    (&["audio/mpeg"], &["mp3"]),
    (&["audio/flac", "audio/x-flac"], &["flac"]),
    (&["audio/ogg", "video/ogg", "application/ogg", "audio/opus"], &["ogg", "oga", "ogv"]),
    (
        &["application/vnd.microsoft.portable-executable", "application/x-dosexec"],
        &["exe", "dll", "sys", "ocx", "scr", "cpl", "drv", "efi", "mui", "ax", "com", "pyd", "node"],
    ),
    (&["application/x-elf"], &["elf", "so", "ko"]),
    (
        &["text/html", "application/xml", "application/xhtml+xml"],
        &["html", "htm", "xhtml", "php", "asp", "aspx", "jsp"],
    ),
    (&["message/rfc822"], &["eml", "mht", "mhtml"]),
    (&["application/mbox"], &["mbox"]),
    (
        &[],
        &[
            "txt", "log", "csv", "ini", "c", "h", "cpp", "py", "js", "css", "json", "md", "bat", "ps1", "yml", "yaml",
            "xml",
        ],
    ),
];

/// Extensions that say "picture", "program", "archive" …: what is text under such a name is hidden or damaged. Those
/// that text may bear too (`doc`, `html`, `com`, `sys`, `php`) are not among them.
const NEVER_TEXT: &[&str] = &[
    "jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic", "pdf", "zip", "docx", "xlsx", "pptx", "odt",
    "ods", "odp", "epub", "jar", "apk", "ppt", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "sqlite", "sqlite3",
    "mp4", "m4v", "m4a", "mov", "3gp", "avi", "mkv", "wav", "mp3", "flac", "exe", "dll",
];

/// True where `name` bears an extension that is known for other types and not usual for this one: a picture called
/// `notes.txt`. Says nothing of content that is empty or unknown.
pub fn extension_mismatch(identity: &Identity, name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let extension = extension.to_ascii_lowercase();
    if stem.is_empty() || identity.extensions.contains(&extension.as_str()) || extension.len() > 8 {
        return false;
    }
    let mut rows = GROUPS.iter().filter(|(_, extensions)| extensions.contains(&extension.as_str())).peekable();
    if rows.peek().is_none() || rows.any(|(mimes, _)| mimes.contains(&identity.mime)) {
        return false;
    }
    if identity.is_text() {
        return NEVER_TEXT.contains(&extension.as_str());
    }
    GROUPS.iter().any(|(mimes, _)| mimes.contains(&identity.mime))
}
