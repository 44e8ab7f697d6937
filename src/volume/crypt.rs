//! Ciphers of encrypted volumes, sector by sector: AES, Serpent and Twofish as XTS (IEEE 1619), CBC and ECB, with the ways in
//! which Linux's dm-crypt and BitLocker make the first block of a sector depend on its number.

use crate::image::derived::Decode;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use serpent::Serpent;
use sha2::Digest;
use twofish::Twofish;

/// A block.
type Block = Array<u8, U16>;

/// A block cipher with its key.
trait Cipher: Send + Sync {
    fn encrypt(&self, block: &mut Block);
    fn decrypt(&self, blocks: &mut [Block]);
}

impl<C> Cipher for C
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, block: &mut Block) {
        self.encrypt_block(block);
    }

    fn decrypt(&self, blocks: &mut [Block]) {
        self.decrypt_blocks(blocks);
    }
}

/// The cipher of this name with this key; none where there is no such, or its keys are of other lengths.
fn cipher(name: &str, key: &[u8]) -> Option<Box<dyn Cipher>> {
    fn with<C: Cipher + KeyInit + 'static>(key: &[u8]) -> Option<Box<dyn Cipher>> {
        Some(Box::new(C::new_from_slice(key).ok()?))
    }
    match (name, key.len()) {
        ("aes", 16) => with::<Aes128>(key),
        ("aes", 24) => with::<Aes192>(key),
        ("aes", 32) => with::<Aes256>(key),
        ("serpent", 16 | 24 | 32) => with::<Serpent>(key),
        ("twofish", 16 | 24 | 32) => with::<Twofish>(key),
        _ => None,
    }
}

/// How blocks of a sector hang together.
enum Mode {
    Ecb,
    Cbc,
    /// With the cipher of the second half of the key.
    Xts(Box<dyn Cipher>),
}

/// How the number of a sector becomes a block.
enum Tweak {
    /// None.
    Zero,
    /// Its 32 or 64 bits, little-endian.
    Plain(u32),
    /// Its 64 bits, big-endian, at the end.
    PlainBig,
    /// Encrypted with a hash of the key.
    Essiv(Box<dyn Cipher>),
    /// The offset of the sector in bytes, encrypted with the key itself (BitLocker).
    EncryptedByte,
}

/// A way to decode sectors.
pub struct Sectors {
    cipher: Box<dyn Cipher>,
    mode: Mode,
    tweak: Tweak,
    sector: u64,
    /// What the number of a sector counts, in bytes.
    unit: u64,
    /// What BitLocker does to a sector besides.
    diffuser: Option<Box<dyn Cipher>>,
}

impl Sectors {
    /// By the name that dm-crypt has for it, `aes-xts-plain64` or `aes-cbc-essiv:sha256`: sectors of `sector` bytes, numbered in
    /// units of 512 bytes or, where `large`, in sectors.
    pub(super) fn named(name: &str, key: &[u8], sector: u64, large: bool) -> Option<Self> {
        let mut words = name.splitn(3, '-');
        let (own, mode, iv) = (words.next()?, words.next().unwrap_or("ecb"), words.next().unwrap_or("null"));
        let half = key.len().checked_div(2)?;
        let (data, second) = if mode == "xts" { key.split_at_checked(half)? } else { (key, &[][..]) };
        let mode = match mode {
            "ecb" => Mode::Ecb,
            "cbc" => Mode::Cbc,
            "xts" => Mode::Xts(cipher(own, second)?),
            _ => return None,
        };
        let tweak = match iv.split_once(':') {
            None if iv == "plain" => Tweak::Plain(32),
            None if iv == "plain64" => Tweak::Plain(64),
            None if iv == "plain64be" => Tweak::PlainBig,
            None if iv == "null" => Tweak::Zero,
            Some(("essiv", hash)) => Tweak::Essiv(cipher(own, &digest(hash, data)?)?),
            _ => return None,
        };
        let unit = if large { sector } else { 512 };
        Some(Self { cipher: cipher(own, data)?, mode, tweak, sector, unit, diffuser: None })
    }

    /// AES of BitLocker: CBC whose first block is the encrypted offset, with the diffuser's key where there is one.
    pub(super) fn bitlocker(key: &[u8], diffuser: Option<&[u8]>, sector: u64) -> Option<Self> {
        let diffuser = match diffuser {
            Some(key) => Some(cipher("aes", key)?),
            None => None,
        };
        let cipher = cipher("aes", key)?;
        Some(Self { cipher, mode: Mode::Cbc, tweak: Tweak::EncryptedByte, sector, unit: sector, diffuser })
    }

    /// The block of sector `number`, which is counted in sectors.
    fn block(&self, number: u64) -> Block {
        let count = number.saturating_mul(self.sector).checked_div(self.unit).unwrap_or(0);
        let mut block = Block::default();
        let little = |block: &mut Block, value: u64| {
            block.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
        };
        match &self.tweak {
            Tweak::Zero => {}
            Tweak::Plain(32) => little(&mut block, count & 0xffff_ffff),
            Tweak::Plain(_) => little(&mut block, count),
            Tweak::PlainBig => block.iter_mut().skip(8).zip(count.to_be_bytes()).for_each(|(to, from)| *to = from),
            Tweak::Essiv(by) => {
                little(&mut block, count);
                by.encrypt(&mut block);
            }
            Tweak::EncryptedByte => {
                little(&mut block, number.saturating_mul(self.sector));
                self.cipher.encrypt(&mut block);
            }
        }
        block
    }
}

impl Decode for Sectors {
    fn sector(&self) -> u64 {
        self.sector
    }

    fn decode(&self, number: u64, sector: &mut [u8]) {
        let first = self.block(number);
        let (blocks, _) = Block::slice_as_chunks_mut(sector);
        match &self.mode {
            Mode::Ecb => self.cipher.decrypt(blocks),
            Mode::Cbc => cbc(self.cipher.as_ref(), first, blocks),
            Mode::Xts(second) => xts(self.cipher.as_ref(), second.as_ref(), first, blocks),
        }
        if let Some(diffuser) = &self.diffuser {
            let key = sector_key(diffuser.as_ref(), number.saturating_mul(self.sector));
            diffuse(sector, &key);
        }
    }
}

fn xor(block: &mut Block, with: &Block) {
    block.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

fn cbc(cipher: &dyn Cipher, first: Block, blocks: &mut [Block]) {
    let mut before: Vec<Block> = vec![first];
    before.extend_from_slice(blocks.get(..blocks.len().saturating_sub(1)).unwrap_or_default());
    cipher.decrypt(blocks);
    blocks.iter_mut().zip(&before).for_each(|(block, before)| xor(block, before));
}

fn xts(cipher: &dyn Cipher, second: &dyn Cipher, mut tweak: Block, blocks: &mut [Block]) {
    second.encrypt(&mut tweak);
    let mut tweaks = Vec::with_capacity(blocks.len());
    let mut value = u128::from_le_bytes(tweak.into());
    for block in &mut *blocks {
        let tweak = Block::from(value.to_le_bytes());
        xor(block, &tweak);
        tweaks.push(tweak);
        // Times x, modulo x^128 + x^7 + x^2 + x + 1.
        value = value << 1 ^ if value >> 127 == 1 { 0x87 } else { 0 };
    }
    cipher.decrypt(blocks);
    blocks.iter_mut().zip(&tweaks).for_each(|(block, tweak)| xor(block, tweak));
}

/// The key of a sector that the diffuser leaves to the end: its offset encrypted twice, the second time with a top byte of 0x80.
fn sector_key(cipher: &dyn Cipher, byte: u64) -> [u8; 32] {
    let mut key = [0; 32];
    for (half, last) in key.chunks_exact_mut(16).zip([0, 0x80]) {
        let mut block = Block::default();
        block.iter_mut().zip(byte.to_le_bytes()).for_each(|(to, from)| *to = from);
        if let Some(top) = block.last_mut() {
            *top = last;
        }
        cipher.encrypt(&mut block);
        half.copy_from_slice(&block);
    }
    key
}

/// The Elephant diffuser, undone: B five times, A three times, then the sector's key (Ferguson, "AES-CBC + Elephant diffuser", 2006).
fn diffuse(sector: &mut [u8], key: &[u8; 32]) {
    let (chunks, _) = sector.as_chunks::<4>();
    let mut words: Vec<u32> = chunks.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let n = words.len();
    for turn in 0..n.saturating_mul(3) {
        mix(&mut words, turn, [2, 5], [0, 10, 0, 25]);
    }
    for turn in 0..n.saturating_mul(5) {
        mix(&mut words, turn, [n.saturating_sub(2), n.saturating_sub(5)], [9, 0, 13, 0]);
    }
    for (to, word) in sector.chunks_exact_mut(4).zip(&words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    sector.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// Adds to a word what two others say that stand so many words further, around the end.
fn mix(words: &mut [u32], turn: usize, further: [usize; 2], turns: [u32; 4]) {
    let at = turn.checked_rem(words.len()).unwrap_or(0);
    let other = |further: usize| {
        let at = at.saturating_add(further).checked_rem(words.len()).unwrap_or(0);
        words.get(at).copied().unwrap_or(0)
    };
    let [first, second] = further.map(other);
    let by = turns.get(at & 3).copied().unwrap_or(0);
    if let Some(word) = words.get_mut(at) {
        *word = word.wrapping_add(first ^ second.rotate_left(by));
    }
}

/// A digest by the name that Linux has for it.
pub(super) fn digest(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    match name {
        "sha1" => Some(sha1::Sha1::digest(bytes).to_vec()),
        "sha224" => Some(sha2::Sha224::digest(bytes).to_vec()),
        "sha256" => Some(sha2::Sha256::digest(bytes).to_vec()),
        "sha384" => Some(sha2::Sha384::digest(bytes).to_vec()),
        "sha512" => Some(sha2::Sha512::digest(bytes).to_vec()),
        "ripemd160" => Some(ripemd::Ripemd160::digest(bytes).to_vec()),
        _ => None,
    }
}

/// PBKDF2 with HMAC over the hash of that name: `len` bytes; none where there is no such hash.
pub(super) fn pbkdf2(hash: &str, password: &[u8], salt: &[u8], rounds: u32, len: usize) -> Option<Vec<u8>> {
    let mut key = vec![0; len];
    match hash {
        "sha1" => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt, rounds, &mut key),
        "sha224" => pbkdf2::pbkdf2_hmac::<sha2::Sha224>(password, salt, rounds, &mut key),
        "sha256" => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, rounds, &mut key),
        "sha384" => pbkdf2::pbkdf2_hmac::<sha2::Sha384>(password, salt, rounds, &mut key),
        "sha512" => pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, salt, rounds, &mut key),
        "ripemd160" => pbkdf2::pbkdf2_hmac::<ripemd::Ripemd160>(password, salt, rounds, &mut key),
        _ => return None,
    }
    Some(key)
}

/// AES-CCM with a tag of 16 bytes and a nonce of 12 (RFC 3610), as BitLocker wraps keys; none where the tag does not hold.
pub(super) fn ccm(key: &[u8], nonce: &[u8; 12], tag: &[u8; 16], sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = cipher("aes", key)?;
    let counter = |number: u32| {
        let mut block = Block::default();
        let fields = [2u8].into_iter().chain(*nonce).chain(number.to_be_bytes().into_iter().skip(1));
        block.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        cipher.encrypt(&mut block);
        block
    };
    let mut plain = sealed.to_vec();
    for (number, chunk) in (1u32..).zip(plain.chunks_mut(16)) {
        chunk.iter_mut().zip(&counter(number)).for_each(|(byte, key)| *byte ^= key);
    }
    let mut sum = Block::default();
    let len = u32::try_from(plain.len()).ok()?;
    let fields = [0x3a].into_iter().chain(*nonce).chain(len.to_be_bytes().into_iter().skip(1));
    sum.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    cipher.encrypt(&mut sum);
    for chunk in plain.chunks(16) {
        sum.iter_mut().zip(chunk).for_each(|(byte, with)| *byte ^= with);
        cipher.encrypt(&mut sum);
    }
    xor(&mut sum, &counter(0));
    (sum.as_slice() == tag).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::hex;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect()
    }

    #[test]
    fn the_standards_own_examples_are_decoded() -> Result<(), Box<dyn std::error::Error>> {
        // IEEE 1619-2007, annex B, vector 2: XTS-AES-128, unit 0x3333333333.
        let key = [[0x11; 16], [0x22; 16]].concat();
        let mut sector = bytes("c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0");
        let by = Sectors::named("aes-xts-plain64", &key, 512, false).ok_or("it is known")?;
        by.decode(0x33_3333_3333, &mut sector);
        assert_eq!(sector, [0x44; 32]);
        // RFC 3602, case 1: AES-CBC; a first block of zeros here, so the plain text is that xored with its own.
        let by =
            Sectors::named("aes-cbc-null", &bytes("06a9214036b8a15b512e03d534120006"), 512, false).ok_or("it is")?;
        let mut sector = bytes("e353779c1079aeb82708942dbe77181a");
        by.decode(0, &mut sector);
        let first = bytes("3dafba429d9eb430b422da802c9fac41");
        let plain: Vec<u8> = sector.iter().zip(first).map(|(byte, with)| byte ^ with).collect();
        assert_eq!(plain, b"Single block msg");
        Ok(())
    }

    #[test]
    fn a_password_becomes_the_key_that_rfc_6070_says() {
        let key = pbkdf2("sha1", b"password", b"salt", 4096, 20).unwrap_or_default();
        assert_eq!(hex(&key), "4b007901b765489abead49d926f721d065a429c1");
    }
}
