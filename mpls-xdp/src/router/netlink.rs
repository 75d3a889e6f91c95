//! Requests over RTNETLINK, one connection each.

use std::future::Future;
use std::io;

use futures_util::StreamExt;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

/// How often a list that changed while it was read is read again.
pub(super) const ATTEMPTS: usize = 10;

/// What a dump gave.
pub(super) enum Dump<T> {
    Complete(Vec<T>),
    /// The list changed meanwhile, so some may be missing.
    Interrupted,
}

/// Describes all links of this network namespace.
pub(super) fn dump_links() -> io::Result<Dump<LinkMessage>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    dump(RouteNetlinkMessage::GetLink(message), |answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    })
}

/// Describes the label table of this network namespace.
pub(super) fn dump_label_routes() -> io::Result<Dump<RouteMessage>> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Mpls;
    dump(RouteNetlinkMessage::GetRoute(message), |answer| match answer {
        // A kernel without MPLS answers with the routes of all families.
        RouteNetlinkMessage::NewRoute(route)
            if route.header.address_family == AddressFamily::Mpls =>
        {
            Some(route)
        }
        _ => None,
    })
}

fn dump<T>(
    message: RouteNetlinkMessage,
    pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
) -> io::Result<Dump<T>> {
    let mut list = Vec::new();
    let mut interrupted = false;
    request(message, NLM_F_REQUEST | NLM_F_DUMP, |answer| {
        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        if let NetlinkPayload::InnerMessage(message) = answer.payload {
            list.extend(pick(message));
        }
    })?;
    Ok(if interrupted { Dump::Interrupted } else { Dump::Complete(list) })
}

/// Changes a link, and waits for the kernel's word on it.
pub(super) fn set_link(message: LinkMessage) -> io::Result<()> {
    request(RouteNetlinkMessage::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, |_| ())
}

fn request(
    message: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(NetlinkMessage<RouteNetlinkMessage>),
) -> io::Result<()> {
    block_on(async {
        let (connection, mut handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        let mut answers = handle.request(message).map_err(io::Error::other)?;
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Overrun(_) => return Err(io::Error::other("answers were lost")),
                _ => each(answer),
            }
        }
        Ok(())
    })
}

fn block_on<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(future)
}
