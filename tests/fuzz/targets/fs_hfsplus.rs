//! HFS+: volume headers, the three trees, forks, links, attributes, compressed files; and the journal: a sound one, and one
//! that was not written back.
#![no_main]
evidex_fuzz::fs_target!("hfsplus": "hfsplus", "hfsplus_open");
