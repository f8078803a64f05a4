//! `/admin/networks`: what `grantlog network` does.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing, Reason};
use super::scope::AdminScope;
use crate::domain::value::Digest;
use crate::operations::network::ThrottledNetwork;

/// Which network.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its digest, as the list and alerts have it.
    network: Digest,
}

/// Whose network, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfAddress {
    /// An address of it: the /24 of IPv4, the /48 of IPv6 that it is in.
    address: IpAddr,
    /// Why, without naming an address: it is recorded in clear.
    reason: Reason,
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
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/networks/release",
                (
                    "releaseNetworkOfAddress",
                    "End the throttle of the network that an address is in",
                ),
            ),
            release_of,
        ),
    ]
}

async fn release_of(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<OfAddress>>,
) -> Result<Networks, Rejected> {
    let OfAddress { address, reason } = asked.body.0;
    let reason = reason.0;
    let operations = call.operations();
    let throttled = operations.throttled_networks_of(address).await?;
    if throttled.is_empty() {
        return Err(call.missing("The network of this address is not throttled."));
    }
    for network in throttled {
        operations
            .release_network(&call.context, network, &reason)
            .await?;
    }
    networks(&call).await
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
    call.operations()
        .release_network(&call.context, asked.path.network, &reason)
        .await?;
    networks(&call).await
}
