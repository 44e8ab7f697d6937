//! evidex indexes disk images for digital forensics.
//!
//! Bytes go in at the top and records come out at the bottom; nothing runs back up:
//!
//! ```text
//! image → volume → fs → content → (identify, hash, extract, carve) → pipeline → case → index → search
//! ```
#![deny(unsafe_code, missing_docs, unreachable_pub)]
#![warn(rust_2018_idioms)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod artifact;
pub mod bytes;
pub mod carve;
pub mod case;
pub mod cli;
pub mod content;
pub mod extent;
pub mod extract;
pub mod fault;
pub mod fs;
pub mod fuel;
pub mod hash;
pub mod identify;
pub mod image;
pub mod index;
pub mod locator;
pub mod pipeline;
pub mod plan;
pub mod record;
pub mod registry;
pub mod search;
pub mod text;
pub mod time;
pub mod volume;
pub mod work;
