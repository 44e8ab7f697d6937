// prints size and sha256 of every unlocked volume
use evidex::image::View;
use evidex::volume::{divide, open::open, vault::Keys};
use sha2::Digest;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut k = Keys::default();
    for x in &a[2..] {
        if let Ok(b) = std::fs::read(x) { k.keys.push(b) } else { k.passwords.push(x.as_bytes().to_vec()) }
    }
    let o = open(std::path::Path::new(&a[1]), &k).unwrap();
    let disk = View::whole(o.image.as_ref());
    let l = divide(disk);
    for v in &l.volumes {
        if v.type_name.starts_with("unlocked") {
            v.with(disk, |view| {
                let mut h = sha2::Sha256::new();
                let mut at = 0;
                while at < view.size() {
                    let n = (1 << 20).min(view.size() - at);
                    h.update(&*view.read(at, n).unwrap());
                    at += n;
                }
                let d = h.finalize();
                println!(
                    "{} {} {}",
                    view.size(),
                    d.iter().map(|b| format!("{b:02x}")).collect::<String>(),
                    v.type_name
                );
            });
        }
    }
    for f in &l.faults {
        println!("{f}")
    }
}
