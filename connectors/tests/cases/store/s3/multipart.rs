//! Objects of many parts.

use super::super::support::*;
use super::proxy::{Do, Proxy};
use super::support::*;
use millrace_connectors::store::{Outcome, S3Settings, Store};
use millrace_parts::s3::Moto;

/// The uploads that the server waits for.
fn open_uploads(moto: &Moto, settings: &S3Settings) -> usize {
    let answer = moto.request("GET", &format!("/{}?uploads", settings.bucket), &[], b"").unwrap();
    assert_eq!(answer.status, 200);
    answer.text.matches("<UploadId>").count()
}

#[test]
fn twenty_megabytes_come_back_however_they_were_written() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let store = open(&settings);
    let bytes = noise(20 * MIB + 12_345);
    for piece in [1_000_003, 5 * MIB, bytes.len()] {
        let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
        assert_eq!(upload(&store, "big", &pieces).finish().unwrap(), bytes.len() as u64);
        assert!(store.get("big").unwrap() == bytes);
        store.delete(&["big".to_owned()]).unwrap();
    }
    store.put("big", bytes.clone()).unwrap();
    assert_eq!(store.list("").unwrap()[0].bytes, bytes.len() as u64);
    let edge = 5 * MIB;
    assert!(store.get_range("big", edge as u64 - 7..edge as u64 + 9).unwrap() == bytes[edge - 7..edge + 9]);
    assert_eq!(open_uploads(moto, &settings), 0);
}

#[test]
fn exactly_a_part_is_put_whole() {
    let Some(moto) = server() else { return };
    let proxy = Proxy::start(moto.endpoint(), |_| Do::Pass);
    let settings = S3Settings { endpoint: proxy.endpoint(), ..bucket(moto) };
    let store = open(&settings);
    let bytes = noise(5 * MIB + 1);
    upload(&store, "one", &[&bytes[..5 * MIB]]).finish().unwrap();
    assert_eq!(proxy.count("uploads"), 0);
    upload(&store, "two", &[&bytes]).finish().unwrap();
    assert_eq!((proxy.count("uploads"), proxy.count("partNumber=")), (1, 2));
    assert!(store.get("two").unwrap() == bytes);
}

#[test]
fn an_upload_that_is_dropped_leaves_nothing() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let store = open(&settings);
    let bytes = noise(11 * MIB);
    let open = upload(&store, "big", &[&bytes]);
    assert_eq!(open_uploads(moto, &settings), 1);
    drop(open);
    assert_eq!(open_uploads(moto, &settings), 0);
    assert!(keys(&store, "").is_empty());
}

#[test]
fn parts_that_fail_fail_the_upload_and_leave_nothing() {
    let Some(moto) = server() else { return };
    let proxy = Proxy::start(moto.endpoint(), |request| match request.head.contains("partNumber=2") {
        true => Do::Answer(403, "AccessDenied"),
        false => Do::Pass,
    });
    let settings = S3Settings { endpoint: proxy.endpoint(), parts_in_flight: 2, ..bucket(moto) };
    let store = open(&settings);
    let bytes = noise(5 * MIB);
    let mut upload = store.create("big").unwrap();
    let failed = (0..6).find_map(|_| upload.write_all(&bytes).err()).expect("a part was refused");
    assert!(failed.to_string().contains("AccessDenied"), "{failed}");
    // Whoever goes on regardless gets no object without that part.
    assert_eq!(upload.finish().unwrap_err().outcome(), Outcome::Refused);
    assert!(keys(&store, "").is_empty());
    assert_eq!(open_uploads(moto, &settings), 0);
}

#[test]
fn an_end_whose_answer_is_lost_is_found_to_be_done() {
    let Some(moto) = server() else { return };
    // S3 forgets an upload that is complete; this server would say once more that it is.
    let proxy = Proxy::start(moto.endpoint(), |request| match request.nth {
        // The first request of the kind begins the upload.
        2 if request.is("POST", "uploadId=") => Do::LoseAnswer,
        3 if request.is("POST", "uploadId=") => Do::Answer(404, "NoSuchUpload"),
        _ => Do::Pass,
    });
    let settings = S3Settings { endpoint: proxy.endpoint(), ..bucket(moto) };
    let store = open(&settings);
    let bytes = noise(6 * MIB);
    assert_eq!(upload(&store, "big", &[&bytes]).finish().unwrap(), bytes.len() as u64);
    assert!(store.get("big").unwrap() == bytes);
    assert_eq!(proxy.count("POST "), 3);
}
