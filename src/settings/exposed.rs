//! Files with secrets that everybody on the machine can read.

use super::Loaded;
use super::secret::holds_secret;
use super::tree::Origin;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Properties of Kafka's client that are the paths of files with secrets.
const KEY_PROPERTIES: [&str; 3] = ["ssl.key.location", "ssl.keystore.location", "sasl.kerberos.keytab"];

/// A warning for each file with secrets that everybody can read. What is not there is not complained of here.
pub fn exposed(loaded: &Loaded) -> Vec<String> {
    let warn = |(path, what): &(PathBuf, String)| {
        all_can_read(path).then(|| {
            let path = path.display();
            format!("everybody on this machine can read {path} ({what}): `chmod o-r {path}`")
        })
    };
    files(loaded).iter().filter_map(warn).collect()
}

fn all_can_read(path: &Path) -> bool {
    const OTHERS_READ: u32 = 0o004;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0)
}

/// The files that hold secrets, and what makes them such.
fn files(loaded: &Loaded) -> BTreeSet<(PathBuf, String)> {
    let mut files = BTreeSet::new();
    for leaf in &loaded.leaves {
        if let Origin::File(path) = &leaf.origin
            && holds_secret(&leaf.key, &leaf.value)
        {
            files.insert((path.clone(), format!("it has {}", leaf.key)));
        }
        if leaf.key.ends_with("key_file")
            && let Some(path) = leaf.value.as_str().filter(|path| !path.is_empty())
        {
            files.insert((path.into(), leaf.key.clone()));
        }
    }
    let settings = &loaded.settings;
    for property in settings.source.kafka.properties.iter().chain(&settings.kafka_out.properties) {
        if let Some((name, path)) = property.split_once('=')
            && KEY_PROPERTIES.contains(&name.trim())
        {
            files.insert((path.trim().into(), name.trim().to_owned()));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use crate::settings::{Sources, exposed};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_with_secrets_is_for_its_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, key) = (folder.path().join("shop.toml"), folder.path().join("server.key"));
        fs::write(&key, "PEM").expect("a file");
        let warnings = |text: &str, mode: u32| {
            fs::write(&settings, text).expect("a file");
            for file in [&settings, &key] {
                fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("it is ours");
            }
            let sources = Sources { file: Some(settings.clone()), ..Sources::default() };
            exposed(&sources.load().expect("good settings"))
        };
        let secrets = "[serve]\nread_tokens = ['hunter2']\ntls_key_file = 'server.key'\n";
        let found = warnings(secrets, 0o644);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("server.key (serve.tls_key_file)") && found[0].contains("chmod o-r"), "{found:?}");
        assert!(
            found[1].contains("shop.toml (it has serve.read_tokens)") && !found[1].contains("hunter2"),
            "{found:?}"
        );
        assert_eq!(warnings(secrets, 0o640), [""; 0]);
        assert_eq!(warnings("[store]\ncurrency = 'EUR'\n", 0o644), [""; 0]);
        let kafka = format!("[source.kafka]\nproperties = ['ssl.key.location={}']\n", key.display());
        assert_eq!(warnings(&kafka, 0o644).len(), 1);
    }
}
