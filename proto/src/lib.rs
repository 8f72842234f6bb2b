//! The gRPC contract of Millrace: package `millrace.v1`. The `.proto` files beside this crate say what each message means.
//!
//! ```no_run
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! use millrace_proto::v1::{GetRelatedProductsRequest, analytics_client::AnalyticsClient};
//!
//! let mut client = AnalyticsClient::connect("http://127.0.0.1:7117").await?;
//! let request = GetRelatedProductsRequest { product_id: "85123A".to_owned(), limit: 5, ..Default::default() };
//! let answer = client.get_related_products(request).await?.into_inner();
//! for row in answer.rows {
//!     println!("{} {} {:.3}", row.rank, row.related_id, row.cosine);
//! }
//! # Ok(()) }
//! ```

mod encoded;

pub use encoded::Encoded;
/// The crates whose types the generated code shows.
pub use {prost, prost_types, tonic};

/// Messages and clients.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod v1 {
    tonic::include_proto!("millrace.v1");
}

/// Traits of the services for whoever serves them. Large answers are [`Encoded`].
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod servers {
    include!(concat!(env!("OUT_DIR"), "/servers/millrace.v1.rs"));
}

/// All files of the contract as a `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
