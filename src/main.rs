//! The one binary: see [`millrace::cli`].

fn main() -> std::process::ExitCode {
    millrace::cli::main()
}
