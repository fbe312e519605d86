//! Settings that work but should be changed.

use super::{Config, Environment, Network, redis_url};

impl Config {
    /// Settings that work but should be changed, for the log and the health page.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.environment == Environment::Production && !redis_url::has_password(self.redis.url.reveal()) {
            warnings.push("Redis is used without a password in production. Set REDIS_PASSWORD.".to_owned());
        }
        if self.environment == Environment::Production && self.redis.browse_url.is_none() {
            warnings.push(
                "The pages that show Redis' keys use Larder's own Redis user. Set REDIS_BROWSE_URL to a user with fewer permissions: see \
                 deploy/redis/browse.acl."
                    .to_owned(),
            );
        }
        if self.environment == Environment::Production && self.trusted_proxies.is_empty() {
            warnings.push(
                "TRUSTED_PROXIES is empty in production. Behind a proxy, all requests then have the same address, and ten wrong passwords of one \
                 person lock out everyone."
                    .to_owned(),
            );
        }
        if self.trusted_proxies.iter().any(Network::is_everybody) {
            warnings.push(
                "TRUSTED_PROXIES trusts every address: any client can claim any address, and limits per address do not work.".to_owned(),
            );
        }
        warnings
    }
}
