//! ISO 9660: descriptors and sessions, directories and path tables, Rock Ridge, boot images; the trees beside each other.
#![no_main]
evidex_fuzz::fs_target!("iso9660": "iso9660", "iso9660_two");
