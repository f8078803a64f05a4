//! `grantlog openapi`: what describes the administration API, for those who make clients of it.

use super::output;
use crate::http::admin::openapi;

pub(super) fn run() -> anyhow::Result<()> {
    output::json(&openapi::document())
}
