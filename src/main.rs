//! The command: runs it, tells an error in one line, and sets the exit status.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parsers recurse into what they distrust, in commands that read an item again, too.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    quiet_parsers();
    let command = std::thread::Builder::new().stack_size(STACK).spawn(evidex::cli::run);
    match command.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(error))) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("evidex: {}", evidex::text::printable(&sentence(&error)));
            ExitCode::from(2)
        }
        Ok(Err(_)) => ExitCode::from(2),
        Err(error) => {
            eprintln!("evidex: no thread could be started: {error}");
            ExitCode::from(2)
        }
    }
}

/// The error and its causes in one line; a cause that the error already tells is not told again.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.contains(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}

/// A panic in a parser is caught, and recorded on the item; it is not for the terminal.
fn quiet_parsers() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !evidex::work::is_guarded() {
            usual(panic);
        }
    }));
}

/// `evidex search … | head`: whoever reads has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
