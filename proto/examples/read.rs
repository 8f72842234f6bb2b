//! Reads a server: the headline views, and then some seconds of changes.
//!
//! ```text
//! cargo run -p millrace-proto --example read -- http://127.0.0.1:7117 5
//! ```
//! A token, where the server wants one, is in `MILLRACE_TOKEN`.

use millrace_proto::tonic::metadata::{Ascii, MetadataValue};
use millrace_proto::tonic::transport::Endpoint;
use millrace_proto::tonic::{Request, Status};
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use millrace_proto::v1::subscribe_response::Message;
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7117".to_owned());
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let token = std::env::var("MILLRACE_TOKEN").ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(read(address, token, Duration::from_secs(seconds)))
}

async fn read(address: String, token: Option<String>, listen: Duration) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(address)?.connect().await?;
    let token: Option<MetadataValue<Ascii>> = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
    let authorize = move |mut request: Request<()>| -> Result<Request<()>, Status> {
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    };
    let mut client = AnalyticsClient::with_interceptor(channel, authorize);

    for view in client.list_views(v1::ListViewsRequest {}).await?.into_inner().views {
        println!("view {}: {} | {}", view.name, view.group_columns.join(", "), view.value_columns.join(", "));
    }

    let by_category = v1::GetSalesRequest { group_by: vec!["category".to_owned()], limit: 5, ..Default::default() };
    let sales = client.get_sales(by_category).await?.into_inner();
    let epoch = sales.at.map_or(0, |at| at.epoch);
    for row in sales.rows {
        let net = row.net_sales.unwrap_or_default();
        println!("sales {}: {} orders, {} {}", row.category.unwrap_or_default(), row.orders, net.amount, net.currency);
    }

    // From here on nothing older than what was seen already.
    let consistency = Some(v1::Consistency { min_epoch: epoch, ..Default::default() });
    let funnel = v1::GetFunnelRequest { consistency: consistency.clone(), ..Default::default() };
    for row in client.get_funnel(funnel).await?.into_inner().rows {
        let steps: Vec<String> = row.steps.iter().map(|step| format!("{} {}", step.name, step.ordered)).collect();
        println!("funnel: {} sessions: {}", row.sessions, steps.join(", "));
    }

    let traffic = v1::Query { view: "traffic".to_owned(), group_by: vec!["hour".to_owned()], ..Default::default() };
    let mut page = v1::QueryRequest { query: Some(traffic.clone()), page_size: 100, consistency, ..Default::default() };
    let mut rows = 0;
    loop {
        let answer = client.query(page.clone()).await?.into_inner();
        rows += answer.rows.len();
        if answer.next_page_token.is_empty() {
            break;
        }
        page.consistency = None;
        page.page_token = answer.next_page_token;
    }
    println!("traffic: {rows} hours");

    let request = v1::SubscribeRequest { query: Some(traffic), ..Default::default() };
    let mut messages = client.subscribe(request).await?.into_inner();
    let listening = async {
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Message::Snapshot(batch)) => println!("snapshot: {} rows", batch.rows.len()),
                Some(Message::Changes(batch)) => {
                    println!("changes: {} upserted, {} removed", batch.upserted.len(), batch.removed.len());
                }
                Some(Message::Progress(progress)) => println!("progress: {}", progress.at.map_or(0, |at| at.epoch)),
                None => {}
            }
        }
        Ok::<(), Status>(())
    };
    // The time that was asked for is over, or the server has ended the subscription.
    tokio::time::timeout(listen, listening).await.unwrap_or(Ok(()))?;
    println!("done");
    Ok(())
}
