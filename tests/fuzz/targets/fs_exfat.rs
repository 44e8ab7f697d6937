//! exFAT: boot regions, table, bitmap, entry sets; without its backup no damage to the boot sector is made good.
#![no_main]
evidex_fuzz::fs_target!("exfat": "exfat", "exfat_alone");
