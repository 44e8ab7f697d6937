//! XFS: superblock and copies, groups and their trees, inodes, directories, attributes; versions 4 and 5.
#![no_main]
evidex_fuzz::fs_target!("xfs": "xfs", "xfs_1k", "xfs_4");
