//! F2FS: superblocks, checkpoints, both tables and their journals, nodes, directories, attributes, what is gone; packed clusters, and
//! a volume that was not unmounted.
#![no_main]
evidex_fuzz::fs_target!("f2fs": "../../../fixtures/f2fs/deleted", "../../../fixtures/f2fs/open", "../../../fixtures/f2fs/packed-lzo-rle");
