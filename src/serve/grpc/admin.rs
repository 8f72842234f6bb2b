//! The service `Admin`. Who may call it is settled before: see [`super::auth`].

use crate::serve::status::Engine;
use millrace_proto::servers::admin_server::Admin;
use millrace_proto::v1;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct AdminService {
    pub engine: Arc<dyn Engine>,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn drain(&self, _request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        self.engine.drain();
        Ok(Response::new(v1::DrainResponse {}))
    }

    async fn get_settings(
        &self,
        _request: Request<v1::GetSettingsRequest>,
    ) -> Result<Response<v1::GetSettingsResponse>, Status> {
        Ok(Response::new(v1::GetSettingsResponse { toml: self.engine.settings() }))
    }
}
