//! `/admin/networks`: what `grantlog network` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing};
use super::scope::AdminScope;
use crate::domain::value::Digest;
use crate::operations::network::ThrottledNetwork;

/// Which network.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its digest, as the list and alerts have it.
    network: Digest,
}

/// Networks that are answered few requests.
#[derive(Serialize, JsonSchema)]
struct Networks {
    /// The one that is throttled longest first.
    items: Vec<ThrottledNetwork>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get(
                "/admin/networks",
                (
                    "listThrottledNetworks",
                    "List the networks that are throttled now",
                ),
            ),
            list,
        ),
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/networks/{network}/release",
                ("releaseNetwork", "End a network's throttle before its time"),
            ),
            release,
        ),
    ]
}

async fn networks(call: &Call) -> Result<Networks, Rejected> {
    let items = call.operations().throttled_networks().await?;
    Ok(Networks { items })
}

async fn list(call: Call, _: Asked) -> Result<Networks, Rejected> {
    networks(&call).await
}

async fn release(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Networks, Rejected> {
    let reason = asked.body.0.reason.0;
    let context = call.because(Some(reason.clone()));
    call.operations()
        .release_network(&context, asked.path.network, &reason)
        .await?;
    networks(&call).await
}
