//! The examples for those who write clients do what they show.

use super::super::support::{manifest_dir, skip};
use super::fixture::{Serving, settings, spread};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a client while epochs are published, and checks that it says all of `words`.
fn check(mut command: Command, serving: &mut Serving, words: &[&str]) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // As long as it takes, should it have to be built first.
    for (changes, epoch) in std::iter::repeat_n(spread(40, 11), 300).flatten().zip(10..) {
        serving.publish(epoch, changes);
        std::thread::sleep(Duration::from_millis(20));
        if child.try_wait().expect("it can be looked at").is_some() {
            break;
        }
    }
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not in: {said}"));
}

#[test]
fn the_rust_example_reads_and_listens() {
    let mut serving = Serving::whole(&settings(), 5);
    let built = Path::new(env!("CARGO_BIN_EXE_millrace")).with_file_name("examples").join("read");
    let mut command = if built.exists() {
        Command::new(built)
    } else {
        // Where this test is run alone, nobody has built it.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--package", "millrace-proto", "--example", "read", "--"]);
        cargo.current_dir(manifest_dir());
        cargo
    };
    command.args([format!("http://{}", serving.address()), "2".to_owned()]);
    let words = ["view sales: hour, day", "sales ", "funnel: ", " hours\n", "snapshot: ", "changes: ", "done"];
    check(command, &mut serving, &words);
}

/// A Python with what the example asks for.
fn python(folder: &Path) -> Option<PathBuf> {
    let python = millrace_parts::python::venv(&folder.join("requirements.txt"));
    python.map_err(|error| skip(&format!("the Python client: {error}"))).ok()
}

#[test]
fn the_python_example_reads_by_reflection_alone() {
    let folder = manifest_dir().join("proto/examples/python");
    let Some(python) = python(&folder) else { return };
    let mut serving = Serving::whole(&settings(), 5);
    let mut command = Command::new(python);
    command.arg(folder.join("read.py")).args(["--addr", &serving.address(), "--seconds", "2"]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let services = "grpc.health.v1.Health, grpc.reflection.v1alpha.ServerReflection, millrace.v1.Admin, \
        millrace.v1.Analytics";
    let words =
        [services, "view traffic: by minute", "sales ", "funnel: ", "snapshot: epoch", "changes: epoch", "followed"];
    check(command, &mut serving, &words);
}
