//! Everything that is registered: one line a module, one table a layer. The order of a table is the order of trial.

use crate::carve::{Carver, Seal};
use crate::extract::Extractor;
use crate::{carve, extract, fs, image, volume};

/// Containers of evidence.
pub static IMAGES: &[image::Format] = &[
    image::Format { name: "aff4", open: image::aff4::open },
    image::Format { name: "folder", open: image::folder::open },
    image::Format { name: "ewf", open: image::ewf::open },
    image::Format { name: "qcow2", open: image::qcow2::open },
    image::Format { name: "vhdx", open: image::vhdx::open },
    image::Format { name: "vhd", open: image::vhd::open },
    image::Format { name: "vmdk", open: image::vmdk::open },
    image::Format { name: "vdi", open: image::vdi::open },
    image::Format { name: "aff", open: image::aff::open },
    image::Format { name: "dmg", open: image::dmg::open },
    image::Format { name: "gz", open: image::gz::open },
    image::Format { name: "zst", open: image::zst::open },
    image::Format { name: "raw", open: image::raw::open },
];

/// Partition schemes; a GPT goes before the MBR that protects it.
pub static SCHEMES: &[volume::Scheme] = &[
    volume::Scheme { name: "gpt", read: volume::gpt::read },
    volume::Scheme { name: "apm", read: volume::apm::read },
    volume::Scheme { name: "sun", read: volume::sun::read },
    volume::Scheme { name: "mbr", read: volume::mbr::read },
    volume::Scheme { name: "bsd", read: volume::bsd::read },
    volume::Scheme { name: "atari", read: volume::atari::read },
];

/// Schemes that divide a partition of another one.
pub static SLICES: &[volume::Scheme] = &[
    volume::Scheme { name: "bsd", read: volume::bsd::read },
    volume::Scheme { name: "sun-x86", read: volume::sun::read_x86 },
];

/// Volume managers.
pub static MANAGERS: &[volume::Manager] = &[
    volume::Manager { name: "md", read: volume::md::read },
    volume::Manager { name: "lvm2", read: volume::lvm2::read },
];

/// Encryption of volumes.
pub static VAULTS: &[volume::vault::Vault] = &[
    volume::vault::Vault { name: "luks", probe: volume::luks::probe, unlock: volume::luks::unlock },
    volume::vault::Vault { name: "bitlocker", probe: volume::bitlocker::probe, unlock: volume::bitlocker::unlock },
];

/// Who keeps earlier times of a volume.
pub static KEEPERS: &[volume::Keeper] = &[volume::Keeper { name: "vss", read: volume::vss::read }];

/// File systems.
pub static FILE_SYSTEMS: &[fs::Row] = &[
    fs::Row { name: "folder", probe: fs::folder::probe, open: fs::folder::open },
    fs::Row { name: "ntfs", probe: fs::ntfs::probe, open: fs::ntfs::open },
    fs::Row { name: "fat", probe: fs::fat::probe, open: fs::fat::open },
    fs::Row { name: "exfat", probe: fs::exfat::probe, open: fs::exfat::open },
    fs::Row { name: "ext", probe: fs::ext::probe, open: fs::ext::open },
    fs::Row { name: "apfs", probe: fs::apfs::probe, open: fs::apfs::open },
    fs::Row { name: "btrfs", probe: fs::btrfs::probe, open: fs::btrfs::open },
    fs::Row { name: "f2fs", probe: fs::f2fs::probe, open: fs::f2fs::open },
    fs::Row { name: "hfsplus", probe: fs::hfsplus::probe, open: fs::hfsplus::open },
    fs::Row { name: "squashfs", probe: fs::squashfs::probe, open: fs::squashfs::open },
    fs::Row { name: "ufs", probe: fs::ufs::probe, open: fs::ufs::open },
    fs::Row { name: "xfs", probe: fs::xfs::probe, open: fs::xfs::open },
    fs::Row { name: "udf", probe: fs::udf::probe, open: fs::udf::open },
    fs::Row { name: "iso9660", probe: fs::iso9660::probe, open: fs::iso9660::open },
];

/// Carvers.
pub static CARVERS: &[Carver] = &[
    Carver { name: "jpeg", offset: 0, headers: carve::jpeg::HEADERS, measure: carve::jpeg::measure, seal: Seal::None },
    Carver {
        name: "png",
        offset: 0,
        headers: carve::png::HEADERS,
        measure: carve::png::measure,
        seal: Seal::Checked(carve::png::sealed),
    },
    Carver { name: "gif", offset: 0, headers: carve::gif::HEADERS, measure: carve::gif::measure, seal: Seal::None },
    Carver { name: "pdf", offset: 0, headers: carve::pdf::HEADERS, measure: carve::pdf::measure, seal: Seal::None },
    Carver {
        name: "zip",
        offset: 0,
        headers: carve::zip::HEADERS,
        measure: carve::zip::measure,
        seal: Seal::Checked(carve::zip::sealed),
    },
    Carver {
        name: "sqlite",
        offset: 0,
        headers: carve::sqlite::HEADERS,
        measure: carve::sqlite::measure,
        seal: Seal::None,
    },
    Carver {
        name: "gzip",
        offset: 0,
        headers: carve::gzip::HEADERS,
        measure: carve::gzip::measure,
        seal: Seal::Measured,
    },
    Carver {
        name: "bzip2",
        offset: 0,
        headers: carve::bzip2::HEADERS,
        measure: carve::bzip2::measure,
        seal: Seal::Measured,
    },
    Carver { name: "html", offset: 0, headers: carve::html::HEADERS, measure: carve::html::measure, seal: Seal::None },
    Carver { name: "eml", offset: 0, headers: carve::eml::HEADERS, measure: carve::eml::measure, seal: Seal::None },
    Carver { name: "mp4", offset: 4, headers: carve::mp4::HEADERS, measure: carve::mp4::measure, seal: Seal::None },
];

/// Extractors; markup and mail go before the text that they are, too.
pub static EXTRACTORS: &[Extractor] = &[
    Extractor { name: "html", accepts: extract::html::accepts, extract: extract::html::extract },
    Extractor { name: "mail", accepts: extract::mail::accepts, extract: extract::mail::extract },
    Extractor { name: "mbox", accepts: extract::mbox::accepts, extract: extract::mbox::extract },
    Extractor { name: "plain", accepts: extract::plain::accepts, extract: extract::plain::extract },
    Extractor { name: "pdf", accepts: extract::pdf::accepts, extract: extract::pdf::extract },
    Extractor { name: "office", accepts: extract::office::accepts, extract: extract::office::extract },
    Extractor { name: "zip", accepts: extract::zip::accepts, extract: extract::zip::extract },
    Extractor { name: "gzip", accepts: extract::gzip::accepts, extract: extract::gzip::extract },
    Extractor { name: "tar", accepts: extract::tar::accepts, extract: extract::tar::extract },
    Extractor { name: "bzip2", accepts: extract::bzip2::accepts, extract: extract::bzip2::extract },
    Extractor { name: "xz", accepts: extract::xz::accepts, extract: extract::xz::extract },
    Extractor { name: "zstd", accepts: extract::zstd::accepts, extract: extract::zstd::extract },
];
