//! `mpls-xdp top`.

mod label_view;
mod labels;
mod meter;
mod model;
mod sampling;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use crossterm::event::{self, Event};
use mpls_xdp::filter::{FilterError, Folders, Observation, observe};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval_at, sleep},
};

use self::{
    model::{Flow, Model},
    sampling::Watch,
    screen::Screen,
};

/// Rates of every ingress, why frames are refused there, and which labels they had. Labels come from
/// samples, at most 10 a second for each ingress and reason, which are taken only while the screen
/// shows labels and nobody captures. Press ? for the keys.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Look again every SECONDS
    #[arg(long, value_name = "SECONDS", default_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

pub(super) fn run(folders: &Folders, arguments: &Arguments) -> Result<ExitCode> {
    let interval = Duration::from_secs(arguments.interval);
    // What cannot work at all is told on the screen that the command was typed on.
    let first = observe(folders)?;
    let model = Model::new(interval, Instant::now(), first);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(show(folders, model)) {
        Err(error) if is_gone(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

/// Whether the terminal is gone: the same as a hang-up, which may come a moment later.
fn is_gone(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.raw_os_error() == Some(libc::EIO))
}

/// What a look at the filter brought, and when it was.
type Look = (Instant, Result<Observation, FilterError>);

async fn show(folders: &Folders, mut model: Model) -> Result<()> {
    let mut ends = Ends::new()?;
    // Ended after the screen: nobody has to look at it meanwhile.
    let mut labels = Watch::start(folders.clone(), model.interval);
    let mut screen = Screen::enter()?;
    let mut looks = looks(folders.clone(), model.interval);
    let mut events = events();
    loop {
        labels.show(model.shows_labels());
        screen.draw(|frame| view::draw(frame, &mut model)).context("cannot draw")?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if key.is_press() => {
                    if model.key(key) == Flow::Quit {
                        return Ok(());
                    }
                }
                // Of another size, the screen is drawn anew.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("cannot read from the terminal"),
                None => return Ok(()),
            },
            look = looks.recv() => match look {
                Some((at, look)) => model.look(at, look.map_err(|error| error.to_string())),
                None => bail!("the counters are not read any more"),
            },
            seen = labels.next() => match seen {
                Some(seen) => model.see(seen),
                None => bail!("frames are not sampled any more"),
            },
            () = ends.any() => return Ok(()),
            // The seconds until it must be confirmed are told also between two looks.
            () = sleep(Duration::from_secs(1)), if model.confirm_within().is_some() => {}
        }
    }
}

/// Looks at the filter again and again, where keys do not wait for it.
fn looks(folders: Folders, pace: Duration) -> mpsc::Receiver<Look> {
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval_at(tokio::time::Instant::now() + pace, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let folders = folders.clone();
            let look = spawn_blocking(move || (Instant::now(), observe(&folders))).await;
            // It panicked, or nobody listens.
            let Ok(look) = look else { return };
            if tell.send(look).await.is_err() {
                return;
            }
        }
    });
    told
}

/// What is typed, and changes of the screen's size. A thread of its own reads them: without a
/// terminal, crossterm reads for ever, which must not keep the signal of that from its work.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (tell, told) = mpsc::channel(1);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if tell.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    told
}

/// The signals that end a command. Those of keys come as keys.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    async fn any(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
