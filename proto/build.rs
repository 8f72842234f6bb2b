//! Generates messages, clients and servers from `millrace/v1/*.proto`, without a `protoc` of the system.
//!
//! Twice: once as everybody uses them, and once the servers alone, whose answers are [`Encoded`](src/encoded.rs) bytes.

use protox::Compiler;
use std::io::{Error, Result};
use std::path::PathBuf;
use tonic_prost_build::configure;

const PACKAGE: &str = ".millrace.v1";
const FILES: [&str; 2] = ["millrace/v1/analytics.proto", "millrace/v1/admin.proto"];
/// The answers that a server may write itself.
const ENCODED: [&str; 5] =
    ["GetSalesResponse", "GetFunnelResponse", "GetRelatedProductsResponse", "QueryResponse", "SubscribeResponse"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=millrace");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut compiler = Compiler::new(["."]).map_err(Error::other)?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES).map_err(Error::other)?;
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();
    configure().build_server(false).compile_fds(descriptors.clone())?;

    let servers_out = out.join("servers");
    std::fs::create_dir_all(&servers_out)?;
    let mut servers = configure().build_client(false).out_dir(servers_out).extern_path(PACKAGE, "crate::v1");
    for answer in ENCODED {
        servers = servers.extern_path(format!("{PACKAGE}.{answer}"), format!("crate::Encoded<crate::v1::{answer}>"));
    }
    servers.compile_fds(descriptors)
}
