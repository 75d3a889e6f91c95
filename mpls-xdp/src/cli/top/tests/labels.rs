//! The labels that were refused, and the confirmation that is awaited.

use std::time::{Duration, SystemTime};

use crossterm::event::KeyCode;
use mpls_xdp::{
    filter::rollout::Confirmation,
    sampling::{Cause, MacAddress},
};
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};

use super::{Screen, two, words};
use crate::cli::top::{
    labels::{KEPT, Labels, Refusal, Sampling, Sighting},
    model::Page,
};

const SPOOFED: Cause = Cause::Ingress(Reason::LabelSpoofed);
const UNBOUND: Cause = Cause::Interface(InterfaceReason::IngressUnbound);

fn refusal(ingress: Option<&str>, cause: Cause) -> Refusal {
    Refusal {
        ingress: ingress.map(str::to_owned),
        interface: "eth2".to_owned(),
        reason: cause.name(),
    }
}

/// A frame of a label from the source with this last byte, a number of seconds ago.
fn sighting(refusal: &Refusal, label: u32, source: u8, ago: u64) -> Sighting {
    Sighting {
        refusal: refusal.clone(),
        label: Some(label),
        source: Some(MacAddress([2, 0, 0, 0, 0, source])),
        time: now() - Duration::from_secs(ago),
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Two labels of peer, of which one has many sources, and one of no ingress.
fn some() -> Labels {
    let mut labels = Labels::default();
    labels.sampling = Sampling::On;
    let (peer, none) = (refusal(Some("peer"), SPOOFED), refusal(None, UNBOUND));
    for source in 1..=9 {
        labels.sight(&sighting(&peer, 24_999, source, 70));
    }
    labels.measure(Duration::from_secs(1));
    labels.sight(&sighting(&peer, 16_001, 1, 3));
    labels.sight(&sighting(&none, 100, 7, 0));
    labels.measure(Duration::from_secs(2));
    labels.refused(peer, 4_000);
    labels.refused(none, 1);
    labels.look(now());
    labels
}

fn shown() -> Screen {
    let mut screen = Screen::new(&two());
    screen.model.see(some());
    screen
}

#[test]
fn all_labels_at_80_by_24() {
    let mut screen = shown();
    assert!(!screen.model.shows_labels());
    screen.type_text("l");
    assert!(screen.model.shows_labels());
    let lines = screen.lines();
    assert_eq!(lines[3], "Refused labels of all ingresses");
    assert_eq!(lines[4], "sampled: 11 of 4,001 frames refused while labels were shown");
    assert_eq!(words(&lines[5]), ["LABEL", "WHERE", "REASON", "SEEN/S", "SHARE", "SOURCE", "LAST"]);
    // What is seen now comes first, the newest of it at the top.
    let unbound = ["100", "eth2", "ingress_unbound", "0.5", "100%", "02:00:00:00:00:07", "now"];
    assert_eq!(words(&lines[6]), unbound);
    let one = ["16001", "peer", "label_spoofed", "0.5", "10%", "02:00:00:00:00:01", "3s"];
    assert_eq!(words(&lines[7]), one);
    let many = ["24999", "peer", "label_spoofed", "0", "90%", "02:00:00:00:00:01", "+7…", "70s"];
    assert_eq!(words(&lines[8]), many);
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    assert!(lines[5].chars().count() <= 80 && lines[23].ends_with("q quit"), "{lines:#?}");
    // In all instead of a second.
    screen.type_text("t");
    let lines = screen.lines();
    assert_eq!(words(&lines[5])[3], "SAMPLES");
    assert_eq!(words(&lines[6])[..4], ["24999", "peer", "label_spoofed", "9"]);
}

#[test]
fn a_wide_screen_has_more_sources_and_whole_names() {
    let mut screen = shown();
    screen.model.see({
        let mut labels = some();
        let reason = Cause::Ingress(Reason::ExtendedLabelNotAllowed);
        labels.sight(&sighting(&refusal(Some("peer"), reason), 16, 1, 0));
        labels
    });
    screen.type_text("l");
    let clipped = screen.lines().join("\n");
    assert!(clipped.contains(" extended_label_not_allow… "), "{clipped}");
    screen.terminal.backend_mut().resize(130, 24);
    let lines = screen.lines().join("\n");
    assert!(lines.contains("extended_label_not_allowed"), "{lines}");
    assert!(lines.contains("02:00:00:00:00:01 02:00:00:00:00:02 02:00:00:00:00:03 +5…"), "{lines}");
}

#[test]
fn the_page_of_an_ingress_has_its_own_labels() {
    let mut screen = shown();
    screen.type_text("/peer");
    screen.press(&[KeyCode::Enter, KeyCode::Enter]);
    let text = screen.lines().join("\n");
    assert!(text.contains("sampled: 10 of 4,000 frames"), "{text}");
    assert!(text.contains("\n16001 ") && text.contains("\n24999 "), "{text}");
    assert!(!text.contains("ingress_unbound") && !text.contains("WHERE"), "{text}");
    // No more than a few there, and all of them one page further.
    let peer = refusal(Some("peer"), SPOOFED);
    let mut labels = some();
    (0..30).for_each(|more| labels.sight(&sighting(&peer, 500 + more, 1, 9)));
    screen.model.see(labels);
    let lines = screen.lines().join("\n");
    assert!(lines.contains("\nand 27 more: l shows all"), "{lines}");
    screen.type_text("l");
    assert_eq!(screen.lines()[3], "Refused labels of peer");
    screen.press(&[KeyCode::End]);
    let lines = screen.lines();
    assert_eq!(words(&lines[5])[..2], ["LABEL", "REASON"]);
    assert_eq!(words(&lines[22])[0], "529", "{lines:#?}");
    screen.press(&[KeyCode::PageUp]);
    assert_eq!(words(&screen.lines()[6])[0], "16001");
    screen.press(&[KeyCode::Esc]);
    assert_eq!(screen.model.page, Page::Ingress { scrolled: 0 });
    screen.press(&[KeyCode::Esc]);
    assert_eq!((screen.model.page, screen.names()), (Page::Ingresses, vec!["peer".to_owned()]));
}

#[test]
fn labels_are_filtered_by_all_that_is_shown_of_them() {
    let mut screen = shown();
    screen.type_text("l");
    for (filter, labels) in [
        ("1600", &["16001"][..]),
        ("PEER", &["16001", "24999"]),
        ("unbound", &["100"]),
        ("00:00:09", &[]),
        ("00:00:08", &["24999"]),
    ] {
        screen.type_text("/");
        screen.type_text(filter);
        let lines = screen.lines();
        assert!(lines[3].ends_with(&format!("  filter: {filter}_")), "{lines:#?}");
        let rows = lines[6..23].iter().filter_map(|line| line.split(' ').next());
        let rows: Vec<&str> = rows.filter(|row| row.parse::<u32>().is_ok()).collect();
        assert_eq!(rows, labels, "{filter}");
        assert_eq!(lines[6] == "No label has the filter's text.", labels.is_empty(), "{lines:#?}");
        screen.press(&[KeyCode::Enter, KeyCode::Esc]);
        assert_eq!(screen.model.page, Page::Labels { of_chosen: false, scrolled: 0 });
    }
    screen.press(&[KeyCode::Esc]);
    assert_eq!(screen.names().len(), 2);
}

#[test]
fn it_is_told_when_labels_do_not_go_on() {
    for (sampling, text) in [
        (
            Sampling::Elsewhere(Some(4_194_304)),
            "Process 4194304 samples now (capture or top): labels go on here when it ends.",
        ),
        (
            Sampling::Elsewhere(None),
            "Another process samples now (capture or top): labels go on here when it ends.",
        ),
        (Sampling::Soon, "Another command is at work: labels come in a moment."),
        (Sampling::Failed("no policy".to_owned()), "Not sampled: no policy"),
    ] {
        let mut screen = shown();
        let mut labels = some();
        labels.sampling = sampling;
        screen.model.see(labels);
        for keys in ["l", "lr"] {
            screen.type_text(keys);
            let lines = screen.lines();
            assert!(lines[4].starts_with("sampled: 11 of 4,001 frames"), "{lines:#?}");
            assert_eq!(lines[5], text);
            // What was seen before stays.
            assert_eq!(words(&lines[7])[0], "100", "{lines:#?}");
            screen.press(&[KeyCode::Esc]);
        }
    }
    let mut screen = Screen::new(&two());
    screen.type_text("l");
    assert_eq!(screen.lines()[6], "No refused frame was sampled yet.");
}

#[test]
fn paused_labels_stay() {
    let mut screen = shown();
    screen.type_text("lp");
    let before = screen.lines();
    screen.model.see(Labels::default());
    assert_eq!(screen.lines(), before);
    screen.type_text("p");
    screen.model.see(Labels::default());
    assert!(screen.lines()[4].starts_with("sampled: 0 of 0 frames"));
}

#[test]
fn who_tries_every_label_does_not_fill_the_memory() {
    let peer = refusal(Some("peer"), SPOOFED);
    let mut labels = Labels::default();
    let frames = u32::try_from(KEPT).unwrap() + 10;
    for label in 0..frames {
        labels.sight(&sighting(&peer, label, 1, 100_000 - u64::from(label)));
    }
    assert!(labels.forgot);
    let rows = labels.rows(None, "", true);
    assert_eq!((rows.len(), rows[0].label), (KEPT, Some(frames - 1)));
    assert!(rows.iter().all(|row| row.label >= Some(10)), "the oldest went");
    // Those that are not kept are counted.
    assert_eq!(labels.sampled(Some("peer")), (frames.into(), frames.into()));
    let mut screen = Screen::new(&two());
    screen.model.see(labels);
    screen.type_text("l");
    screen.press(&[KeyCode::End]);
    assert_eq!(screen.lines()[22], "Only the last 1,024 labels are kept; there were more.");
}

#[test]
fn counts_go_on_with_the_next_sampler() {
    let peer = refusal(Some("peer"), SPOOFED);
    let mut labels = Labels::default();
    labels.refused(peer.clone(), 10);
    labels.refused(peer.clone(), 12);
    labels.close();
    assert_eq!(labels.sampled(None), (0, 12));
    labels.refused(peer, 3);
    assert_eq!(labels.sampled(None), (0, 15));
    assert_eq!(labels.sampled(Some("ce-red")), (0, 0));
}

#[test]
fn an_awaited_confirmation_is_in_the_head_at_any_width() {
    let router = two();
    let mut screen = Screen::new(&router);
    let mut awaits = |seconds_left| {
        let mut observation = router.observation(3);
        observation.status.policy = "/etc/mpls-xdp/a-long-name-of-a-policy.toml".to_owned();
        observation.status.confirmation = Some(Confirmation {
            policy: "pe.toml".to_owned(),
            confirm_by: 0,
            seconds_left,
            back_to: None,
            watched: true,
            failure: None,
        });
        // A look that is newer than this clock: nothing has passed since.
        screen.at += Duration::from_secs(60);
        screen.model.look(screen.at, Ok(observation));
        screen.lines()[0].clone()
    };
    let head = awaits(42);
    assert!(head.ends_with(" to be confirmed within 42 s  every 1 s"), "{head}");
    assert_eq!(head.chars().count(), 80);
    assert!(awaits(-3).ends_with(" confirmation 3 s overdue  every 1 s"));
    screen.look(&router);
    assert!(!screen.lines()[0].contains("confirm"));
}
