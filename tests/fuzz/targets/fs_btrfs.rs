//! btrfs: superblocks, chunks, trees, files of every packing, subvolumes and snapshots, attributes, leaves in free space.
#![no_main]
evidex_fuzz::fs_target!("btrfs": "btrfs", "btrfs_packed");
