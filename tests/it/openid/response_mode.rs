//! How answers reach the client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Provider;
use crate::flow;
use crate::harness::browser;

const STATE: &str = "a\"><script>alert(1)</script>&ä";

#[tokio::test]
async fn an_answer_may_be_posted_by_a_page_that_needs_no_script() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let query = provider.query(&[("response_mode", "form_post"), ("state", STATE)]);
    let page = flow::request(server, &browser, &query).await;
    assert_eq!((page.status.as_u16(), page.location()), (200, None));
    let form = format!("<form method=\"post\" action=\"{}\">", flow::REDIRECT_URI);
    assert!(page.body.contains(&form), "{}", page.body);
    assert!(
        page.body
            .contains("<button class=\"primary\" type=\"submit\">Continue</button>")
    );
    assert_eq!(page.hidden("iss"), server.base);
    let escaped = "a&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;ä";
    assert_eq!(page.hidden("state"), escaped);
    provider.redeem(&page.hidden("code")).await;
    // The one script that runs is the page's own.
    let script = page.body.split_once("<script>").unwrap().1;
    let script = script.split_once("</script>").unwrap().0;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, script.as_bytes());
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let allowed = format!("script-src 'sha256-{}'", STANDARD.encode(hash));
    assert!(policy.contains(&allowed), "{policy}");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("form-action"), "the client may be anywhere");
    assert_eq!(page.headers["cache-control"], "no-store");
    let refused = flow::request(server, &browser, &flow::with(&query, &[("scope", "unknown")])).await;
    assert_eq!(refused.hidden("error"), "invalid_scope");
    assert_eq!(refused.hidden("state"), escaped);
}

#[tokio::test]
async fn an_answer_may_come_in_the_fragment() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let query = provider.query(&[("response_mode", "fragment")]);
    let answer = flow::request(server, &browser, &query).await;
    let (uri, fragment) = answer.location().unwrap().split_once('#').unwrap();
    assert_eq!(uri, flow::REDIRECT_URI);
    let parameters: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(fragment.as_bytes())
            .into_owned()
            .collect();
    assert_eq!(parameters["state"], "s t&ä");
    assert_eq!(parameters["iss"], server.base);
    provider.redeem(&parameters["code"]).await;
    let refused = flow::request(server, &browser, &flow::with(&query, &[("prompt", "unknown")])).await;
    assert!(refused.location().unwrap().contains("#error=invalid_request&"));
}

#[tokio::test]
async fn an_unknown_response_mode_is_refused_in_the_query() {
    let provider = Provider::start().await;
    for mode in ["query.JWT", "web_message", "Query"] {
        let query = provider.query(&[("response_mode", mode)]);
        let answer = flow::request(&provider.server, &browser(), &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{mode}");
    }
}
