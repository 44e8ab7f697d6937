//! UDF: descriptors and partitions, entries and lists, directories, deleted names; the trees of ISO 9660 beside it.
#![no_main]
evidex_fuzz::fs_target!("udf": "udf", "udf_cdrw", "udf_bridge");
