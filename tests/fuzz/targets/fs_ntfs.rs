//! NTFS: records, attributes, runs, compressed and resident streams.
#![no_main]
evidex_fuzz::fs_target!("ntfs": "ntfs", "ntfs_4k");
