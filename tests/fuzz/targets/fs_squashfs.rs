//! SquashFS: superblock, tables of metadata, directories, inodes, fragments, attributes; packed with zlib, and with LZ4 where the
//! metadata are not packed, so that changes reach them.
#![no_main]
evidex_fuzz::fs_target!("squashfs": "squashfs", "squashfs_lz4");
