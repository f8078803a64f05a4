//! `grantlog openapi`: what describes the administration API, for those who make clients of it.

use clap::Args;

use super::output;
use crate::http::admin::openapi;

/// Print the OpenAPI 3.1 document of the administration API; needs no database
#[derive(Args)]
pub(super) struct Arguments {
    /// The issuer whose server it is for: its addresses are absolute then, as in what that server answers
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let issuer = arguments
        .issuer
        .as_deref()
        .map(|issuer| issuer.trim_end_matches('/'));
    output::json(&openapi::document(issuer))
}
