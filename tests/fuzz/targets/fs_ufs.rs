//! UFS: superblocks and groups of both versions and byte orders, inodes, pointers, directories, deleted names.
#![no_main]
evidex_fuzz::fs_target!("ufs": "ufs1", "ufs1_big", "ufs2");
