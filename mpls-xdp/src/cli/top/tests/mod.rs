//! The model and its drawing, in a terminal that is only a buffer.

mod labels;

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use mpls_xdp::filter::{
    CounterRow, IngressStats, InterfaceStats, Observation, Ordered, RefusedStats, RuleStats, Stats,
    Status,
};
use mpls_xdp_ebpf::reason::{InterfaceReason, Reason};
use ratatui::{Terminal, backend::TestBackend, buffer::Cell};

use super::{
    model::{Flow, Model, Page},
    view,
};

/// Ingresses by name, with accepted and refused frames.
struct Router(Vec<(String, &'static str, u64, u64)>);

fn frames(packets: u64) -> CounterRow {
    CounterRow { packets, bytes: packets * 100 }
}

fn ingress((name, mode, accepted, refused): &(String, &'static str, u64, u64)) -> IngressStats {
    let (dropped, would_drop) = if *mode == "monitor" { (0, *refused) } else { (*refused, 0) };
    let spoofed =
        |packets, reason| frames(if reason == Reason::LabelSpoofed { packets } else { 0 });
    let refused = Reason::ALL.map(|reason| RefusedStats {
        reason,
        dropped: spoofed(dropped, reason),
        would_drop: spoofed(would_drop, reason),
    });
    IngressStats {
        ingress: name.clone(),
        interface: format!("if-{name}"),
        vlan: vec![100],
        mode,
        accepted: frames(*accepted),
        dropped: frames(dropped),
        would_drop: frames(would_drop),
        reasons: Ordered(Vec::new()),
        rules: vec![RuleStats { rule: "red".to_owned(), counter: frames(*accepted) }],
        refused: refused.to_vec(),
    }
}

impl Router {
    fn new(ingresses: &[(&str, &'static str, u64, u64)]) -> Self {
        let owned = ingresses.iter().map(|(name, mode, a, b)| ((*name).to_owned(), *mode, *a, *b));
        Self(owned.collect())
    }

    /// With two frames more that have no ingress in each generation.
    fn observation(&self, generation: u64) -> Observation {
        let unbound = (InterfaceReason::IngressUnbound.name(), frames(generation * 2));
        let too_deep = (InterfaceReason::VlanTooDeep.name(), frames(0));
        let interfaces = vec![InterfaceStats {
            interface: "eth2".to_owned(),
            attached: "native",
            reasons: Ordered(vec![unbound, too_deep]),
        }];
        let ingresses = self.0.iter().map(ingress).collect();
        Observation {
            status: Status {
                schema: 1,
                generation,
                policy: "pe.toml".to_owned(),
                digest: String::new(),
                object: String::new(),
                applied_at: 0,
                ingresses: self.0.len(),
                policy_map_id: 1,
                policy_map_bytes: 1,
                interfaces: Vec::new(),
                uncovered: Vec::new(),
                problems: Vec::new(),
                confirmation: None,
            },
            stats: Stats { schema: 1, generation, interfaces, ingresses },
        }
    }
}

struct Screen {
    model: Model,
    at: Instant,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new(router: &Router) -> Self {
        let at = Instant::now();
        let model = Model::new(Duration::from_secs(1), at, router.observation(1));
        Self { model, at, terminal: Terminal::new(TestBackend::new(80, 24)).unwrap() }
    }

    /// A look after a second.
    fn look(&mut self, router: &Router) {
        self.at += Duration::from_secs(1);
        self.model.look(self.at, Ok(router.observation(2)));
    }

    fn press(&mut self, keys: &[KeyCode]) {
        for key in keys {
            assert_eq!(self.model.key((*key).into()), Flow::Go);
        }
    }

    fn type_text(&mut self, text: &str) {
        self.press(&text.chars().map(KeyCode::Char).collect::<Vec<_>>());
    }

    fn lines(&mut self) -> Vec<String> {
        self.terminal.draw(|frame| view::draw(frame, &mut self.model)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let cells: Vec<&str> = buffer.content.iter().map(Cell::symbol).collect();
        cells.chunks(width).map(|line| line.concat().trim_end().to_owned()).collect()
    }

    /// The names in the list, from the top.
    fn names(&mut self) -> Vec<String> {
        let lines = self.lines();
        let rows = lines[5..lines.len() - 1].iter().filter(|line| !line.is_empty());
        rows.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn two() -> Router {
    Router::new(&[("ce-red", "enforce", 10, 0), ("peer", "monitor", 20, 5)])
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn the_list_at_80_by_24() {
    let mut router = two();
    let mut screen = Screen::new(&router);
    router.0[0].2 += 1_500;
    router.0[1].3 += 7;
    screen.look(&router);
    let lines = screen.lines();
    assert!(lines[0].starts_with("mpls-xdp  generation 2  pe.toml"), "{lines:#?}");
    assert!(lines[0].len() == 80 && lines[0].ends_with("every 1 s"), "{lines:#?}");
    let rates = "accepted 1,500/s  dropped 0/s  would drop 7/s  without ingress 2/s (eth2)";
    assert_eq!(lines[1], rates);
    assert_eq!(lines[2], "All interfaces of the policy are filtered.");
    assert_eq!(lines[3], "2 of 2 ingresses, sorted by refused");
    assert_eq!(
        words(&lines[4]),
        ["INGRESS", "INTERFACE", "MODE", "ACCEPTED/S", "DROPPED/S", "WOULD/S", "REFUSED"]
    );
    assert_eq!(words(&lines[5]), ["peer", "if-peer.100", "monitor", "0", "0", "7", "█"]);
    assert_eq!(words(&lines[6])[..5], ["ce-red", "if-ce-red.100", "enforce", "1,500", "0"]);
    assert!(lines[23].ends_with("q quit"), "{lines:#?}");
}

#[test]
fn long_names_leave_room_for_the_rest() {
    let name = "customer-of-the-second-building-port-17";
    let mut router = Router::new(&[(name, "enforce", 0, 0)]);
    let mut screen = Screen::new(&router);
    router.0[0].3 = 1;
    screen.look(&router);
    let line = screen.lines()[5].clone();
    let [short, place, mode, _, _, _, bar] = words(&line)[..] else { panic!("{line}") };
    let start = short.strip_suffix('…').unwrap();
    assert!(name.starts_with(start) && start.len() >= 12, "{line}");
    assert!(place.ends_with('…') && mode == "enforce" && bar == "█", "{line}");
    screen.terminal.backend_mut().resize(150, 24);
    assert!(screen.lines()[5].starts_with(name), "{:#?}", screen.lines());
}

#[test]
fn totals_are_all_frames() {
    let mut screen = Screen::new(&two());
    screen.type_text("t");
    let lines = screen.lines();
    assert!(lines[4].contains("ACCEPTED ") && !lines[4].contains("/S"), "{lines:#?}");
    assert_eq!(words(&lines[5])[3..], ["20", "0", "5"], "{lines:#?}");
}

#[test]
fn every_sort_key_sorts() {
    let mut router =
        Router::new(&[("b", "enforce", 0, 0), ("c", "monitor", 0, 0), ("a", "enforce", 0, 0)]);
    let mut screen = Screen::new(&router);
    router.0[0].2 = 9;
    router.0[1].3 = 5;
    router.0[2].3 = 3;
    screen.look(&router);
    for (key, order) in [
        ("r", ["c", "a", "b"]),
        ("a", ["b", "c", "a"]),
        ("d", ["a", "b", "c"]),
        ("w", ["c", "b", "a"]),
        ("n", ["a", "b", "c"]),
        ("r", ["c", "a", "b"]),
        ("i", ["a", "b", "c"]),
    ] {
        screen.type_text(key);
        assert_eq!(screen.names(), order, "{key}");
    }
}

#[test]
fn the_chosen_ingress_stays_chosen_and_in_sight() {
    let names: Vec<String> = (0..100).map(|at| format!("ce-{at:03}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), "enforce", 0, 0)).collect();
    let mut router = Router::new(&all);
    let mut screen = Screen::new(&router);
    assert_eq!(screen.names().len(), 18);
    screen.press(&[KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down, KeyCode::Up]);
    assert_eq!(screen.names()[17], "ce-036");
    screen.press(&[KeyCode::End]);
    assert_eq!(screen.names()[17], "ce-099");
    screen.press(&[KeyCode::PageUp, KeyCode::Char('k')]);
    assert_eq!(screen.names()[0], "ce-080");
    // It gets to the top, and the choice goes with it.
    router.0[80].3 = 1;
    screen.look(&router);
    assert_eq!(screen.names()[0], "ce-080");
    screen.press(&[KeyCode::Enter]);
    assert!(screen.lines()[3].starts_with("ce-080"));
    screen.press(&[KeyCode::Esc, KeyCode::Down, KeyCode::Enter]);
    assert!(screen.lines()[3].starts_with("ce-000"));
}

#[test]
fn the_page_of_an_ingress() {
    let mut router = two();
    let mut screen = Screen::new(&router);
    router.0[1].3 += 7;
    screen.look(&router);
    screen.press(&[KeyCode::Enter]);
    let text = screen.lines().join("\n");
    assert!(text.contains("\npeer  if-peer.100  monitor\n"), "{text}");
    let line = |start: &str| {
        let line = text.lines().skip(4).find(|line| line.starts_with(start));
        words(line.unwrap_or_else(|| panic!("{start} in {text}")))
    };
    assert_eq!(line("would drop"), ["would", "drop", "7", "5,600", "12", "█"]);
    assert_eq!(line("label_spoofed"), ["label_spoofed", "0", "7", "12"]);
    assert_eq!(line("red"), ["red", "0", "0", "20"]);
    assert!(!text.contains("ttl_zero"), "{text}");
    // Shorter than the page, the screen scrolls, but not beyond the end.
    screen.terminal.backend_mut().resize(80, 10);
    screen.lines();
    screen.press(&[KeyCode::Down; 50]);
    assert!(screen.lines()[8].starts_with("red "), "{:#?}", screen.lines());
    screen.press(&[KeyCode::Home]);
    assert!(screen.lines()[4].starts_with("VERDICT"));
    // A policy without it.
    router.0.pop();
    screen.look(&router);
    assert!(screen.lines()[4].contains("no such ingress any more"), "{:#?}", screen.lines());
    screen.press(&[KeyCode::Esc]);
    assert_eq!(screen.names(), ["ce-red"]);
    screen.press(&[KeyCode::Enter]);
    screen.terminal.backend_mut().resize(80, 24);
    assert!(screen.lines().join("\n").contains("Nothing was refused."));
}

#[test]
fn the_filter_is_a_part_of_a_name() {
    let mut screen = Screen::new(&two());
    screen.type_text("/Q");
    screen.press(&[KeyCode::Backspace]);
    screen.type_text("PEE");
    assert_eq!(screen.names(), ["peer"]);
    assert!(screen.lines()[3].contains("1 of 2 ingresses"), "{:#?}", screen.lines());
    screen.press(&[KeyCode::Enter, KeyCode::Enter]);
    assert!(screen.lines()[3].starts_with("peer"));
    screen.press(&[KeyCode::Esc]);
    assert_eq!(screen.names(), ["peer"]);
    screen.press(&[KeyCode::Esc]);
    assert_eq!(screen.names().len(), 2);
    screen.type_text("/xx");
    assert_eq!(screen.names(), [""; 0]);
    screen.press(&[KeyCode::Enter, KeyCode::Enter, KeyCode::Down]);
    assert_eq!(screen.model.page, Page::Ingresses);
    screen.press(&[KeyCode::Char('/'), KeyCode::Esc]);
    assert_eq!(screen.names().len(), 2);
    screen.type_text("/monitor");
    assert_eq!(screen.names(), ["peer"]);
}

#[test]
fn paused_nothing_changes() {
    let mut router = two();
    let mut screen = Screen::new(&router);
    screen.type_text("p");
    let before = screen.lines();
    assert!(before[0].ends_with("PAUSED"), "{before:#?}");
    router.0[0].2 += 10;
    screen.look(&router);
    assert_eq!(screen.lines(), before);
    // What came meanwhile came in the whole time.
    screen.type_text(" ");
    screen.look(&router);
    assert!(screen.lines()[1].starts_with("accepted 5/s"), "{:#?}", screen.lines());
}

#[test]
fn trouble_is_told_above_everything() {
    let router = two();
    let mut screen = Screen::new(&router);
    screen.at += Duration::from_secs(1);
    screen.model.look(screen.at, Err("no policy is applied".to_owned()));
    assert_eq!(screen.lines()[2], "Not up to date: no policy is applied");
    screen.look(&router);
    assert_eq!(screen.lines()[2], "All interfaces of the policy are filtered.");
    let mut observation = router.observation(3);
    observation.status.problems = vec!["eth2 is not filtered".to_owned(), "another".to_owned()];
    screen.model.look(screen.at + Duration::from_secs(1), Ok(observation));
    assert_eq!(screen.lines()[2], "PROBLEM: eth2 is not filtered (and 1 more: mpls-xdp status)");
}

#[test]
fn any_size_is_drawn() {
    let mut screen = Screen::new(&two());
    let labels = [KeyCode::Char('l'), KeyCode::Esc, KeyCode::Esc, KeyCode::Char('l')];
    for page in [&[][..], &[KeyCode::Enter], &labels[..1], &labels, &[KeyCode::Char('?')]] {
        screen.press(page);
        for (width, height) in [(1, 1), (5, 3), (20, 6), (80, 5), (300, 100)] {
            screen.terminal.backend_mut().resize(width, height);
            assert_eq!(screen.lines().len(), usize::from(height));
        }
    }
    assert!(screen.lines().join("").contains("Keys"));
}

#[test]
fn q_and_control_c_quit() {
    let mut model = Screen::new(&two()).model;
    assert_eq!(model.key(KeyCode::Char('q').into()), Flow::Quit);
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    for key in ['/', '?'] {
        model.key(KeyCode::Char(key).into());
        assert_eq!(model.key(control('c')), Flow::Quit, "{key}");
    }
    assert_eq!(model.key(control('d')), Flow::Go);
}
