//! ext2, ext3 and ext4: superblock, groups, inodes, directories, attributes; and the journal: a sound one, and one that
//! was not written back.
#![no_main]
evidex_fuzz::fs_target!("ext": "ext2", "ext3", "ext4", "ext4_open", "ext4_all", "ext4_bigalloc");
