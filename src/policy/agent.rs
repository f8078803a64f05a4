//! Families of user agents: so coarse that they say nothing of a person, and enough to see that another program came.

use serde::{Deserialize, Serialize};

macro_rules! families {
    ($($Family:ident $name:literal [$($token:literal),*]),* $(,)?) => {
        /// The family of a user agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each is the program of that name")]
        pub enum AgentFamily {
            $($Family,)*
            /// A browser that is none of those.
            Browser,
            /// Any other program.
            Other,
        }

        impl AgentFamily {
            /// Of the text of a `User-Agent` header (RFC 9110 §10.1.5). The first family of which it has a token.
            #[must_use]
            pub fn of(agent: &str) -> Self {
                let agent = agent.to_ascii_lowercase();
                $(
                    if [$($token),*].iter().any(|token: &&str| agent.contains(token)) {
                        return Self::$Family;
                    }
                )*
                if agent.starts_with("mozilla/") { Self::Browser } else { Self::Other }
            }

            /// The word in the ledger.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Family => $name,)*
                    Self::Browser => "browser",
                    Self::Other => "other",
                }
            }
        }
    };
}

// Browsers name those that they want to pass for: what is more special comes first.
families! {
    Edge "edge" ["edg/", "edge/", "edga/", "edgios/"],
    Opera "opera" ["opr/", "opera"],
    Firefox "firefox" ["firefox/", "fxios/"],
    Chrome "chrome" ["chrome/", "crios/", "chromium/"],
    Safari "safari" ["safari/"],
    Curl "curl" ["curl/"],
    Wget "wget" ["wget/"],
    Python "python" ["python", "aiohttp/", "httpx/", "authlib"],
    Go "go" ["go-http-client", "golang"],
    Java "java" ["java/", "okhttp/", "apache-httpclient", "jakarta"],
    Node "node" ["node", "axios/", "undici", "got (", "openid-client", "oauth4webapi"],
    Php "php" ["php", "guzzlehttp/", "laravel"],
    Ruby "ruby" ["ruby", "faraday"],
    DotNet "dot_net" [".net", "dotnet", "restsharp"],
    Rust "rust" ["reqwest/", "hyper/", "ureq/"],
    Apple "apple" ["cfnetwork/", "darwin/"],
    Bot "bot" ["bot", "spider", "crawl"],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart_and_versions_are_not() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
        assert_eq!(AgentFamily::of(chrome), AgentFamily::Chrome);
        assert_eq!(AgentFamily::of(&format!("{chrome} Edg/130.0")), AgentFamily::Edge);
        assert_eq!(AgentFamily::of("curl/8.5.0"), AgentFamily::of("curl/7.1"));
        assert_eq!(
            AgentFamily::of("Mozilla/5.0 (SomethingNew)"),
            AgentFamily::Browser
        );
        assert_eq!(AgentFamily::of(""), AgentFamily::Other);
        for family in [AgentFamily::DotNet, AgentFamily::Curl, AgentFamily::Other] {
            let json = serde_json::to_string(&family).unwrap();
            assert_eq!(json, format!("\"{}\"", family.name()));
        }
    }
}
