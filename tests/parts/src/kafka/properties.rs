//! `server.properties`, from what is asked for.

use super::options::Options;
use super::tls;

#[cfg(test)]
mod tests;

/// The ports of the three listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) internal: u16,
    pub(super) controller: u16,
}

/// Paths are relative to the folder that the broker runs in: no path needs to be escaped.
pub(super) const DATA: &str = "data";

/// - One node, so every topic of the broker's own has one replica, and one partition: the first consumer group and the
///   first transaction would else wait for 50 to be made.
/// - One that was killed is let in again when the session of the one before has run out: 3 seconds instead of 9.
/// - The last four let records be of any time: a broker refuses those that are an hour ahead, and drops those that are
///   a week old, which test data always is.
const FIXED: &str = "\
process.roles=broker,controller
node.id=1
log.dirs=data
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.message.timestamp.after.max.ms=9223372036854775807
log.message.timestamp.before.max.ms=9223372036854775807
log.retention.ms=-1
log.roll.ms=9223372036854775807
";

/// What was said last counts, so the caller's lines come last.
///
/// # Panics
/// Where a user or a password has characters that would have to be escaped twice.
pub(super) fn server_properties(options: &Options, ports: Ports) -> String {
    let Ports { client, internal, controller } = ports;
    let mut text = FIXED.to_owned();
    let mut add = |line: String| text += &(line + "\n");
    add(format!(
        "listeners=CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}"
    ));
    let protocol = options.auth.protocol();
    add(format!("listener.security.protocol.map=CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"));
    add(format!("controller.quorum.voters=1@127.0.0.1:{controller}"));
    if let Some((user, password)) = options.auth.credentials() {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        assert!(is_plain(user) && is_plain(password), "users and passwords are of letters, digits and -_.");
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        add("listener.name.client.sasl.enabled.mechanisms=PLAIN".to_owned());
        add(format!("listener.name.client.plain.sasl.jaas.config={module} required user_{user}=\"{password}\";"));
    }
    if options.auth.is_tls() {
        add(format!("ssl.keystore.type=PKCS12\nssl.keystore.location={}", tls::KEYSTORE));
        add(format!("ssl.keystore.password={0}\nssl.key.password={0}", tls::PASSWORD));
    }
    options.properties.iter().for_each(|line| add(line.clone()));
    text
}
