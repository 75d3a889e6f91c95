//! Requests over RTNETLINK from inside a namespace.

use anyhow::{Context, Result};
use rtnetlink::{Handle, LinkUnspec};
use tokio::runtime;

use super::Namespace;

/// Runs requests on a connection of the namespace and waits for their end.
pub(super) fn request<T: Send>(
    namespace: &Namespace,
    requests: impl AsyncFnOnce(Handle) -> Result<T> + Send,
) -> Result<T> {
    namespace.run(|| {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a runtime for RTNETLINK")?;
        runtime.block_on(async {
            let (connection, handle, _notifications) =
                rtnetlink::new_connection().context("connecting to RTNETLINK")?;
            tokio::spawn(connection);
            requests(handle).await
        })
    })
}

/// Sets the loopback interface of a new namespace up.
pub(super) fn set_loopback_up(namespace: &Namespace) -> Result<()> {
    request(namespace, async |handle| {
        let message = LinkUnspec::new_with_name("lo").up().build();
        handle.link().change(message).execute().await.context("setting lo up")
    })
}
