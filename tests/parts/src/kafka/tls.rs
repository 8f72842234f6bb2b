//! A certificate for 127.0.0.1, signed by an authority of our own, made once by the JDK's `keytool`.
//!
//! The authority is a certificate of its own: some clients refuse a server that vouches for itself.

use super::{STEP, java};
use crate::PartError;
use crate::cache::{self, Recipe};
use std::path::{Path, PathBuf};

pub(super) const KEYSTORE: &str = "server.p12";
pub(super) const CA: &str = "ca.pem";
/// A key store must have one. It protects nothing here.
pub(super) const PASSWORD: &str = "millrace";

/// Each line is a run of `keytool`: a key for the authority, its certificate, a key for the server, a request for a
/// certificate, the authority's answer, and both certificates into the server's key store.
const STEPS: &str = "\
-genkeypair -keystore ca.p12 -alias ca -keyalg EC -groupname secp256r1 -validity 36500 -dname CN=millrace-parts-ca -ext bc:critical=ca:true -ext ku:critical=keyCertSign
-exportcert -keystore ca.p12 -alias ca -rfc -file ca.pem
-genkeypair -keystore server.p12 -alias server -keyalg EC -groupname secp256r1 -validity 36500 -dname CN=127.0.0.1
-certreq -keystore server.p12 -alias server -file server.csr
-gencert -keystore ca.p12 -alias ca -infile server.csr -outfile server.pem -rfc -validity 36500 -ext san=ip:127.0.0.1,dns:localhost -ext eku=serverAuth
-importcert -keystore server.p12 -alias ca -file ca.pem -noprompt
-importcert -keystore server.p12 -alias server -file server.pem -noprompt
";

/// The folder with [`KEYSTORE`] and [`CA`].
pub(super) fn certificates() -> Result<PathBuf, PartError> {
    cache::provision(&Recipe { name: "kafka-tls", text: STEPS, proof: KEYSTORE }, make)
}

fn make(folder: &Path) -> Result<(), PartError> {
    for step in STEPS.lines() {
        let mut keytool = java("keytool");
        keytool.current_dir(folder).args(step.split(' ')).args(["-storetype", "PKCS12", "-storepass", PASSWORD]);
        STEP.run(&mut keytool)?;
    }
    Ok(())
}
