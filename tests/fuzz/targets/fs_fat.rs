//! FAT12, FAT16 and FAT32: boot sector, table, directories, deleted files.
#![no_main]
evidex_fuzz::fs_target!("fat": "fat12", "fat16", "fat32");
