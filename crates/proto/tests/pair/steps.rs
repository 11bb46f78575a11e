//! What may happen to a pair, as values: drawn at random, or read from a fuzzer's bytes.

use std::time::Duration;

use mosaic_proto::Reason;
use mosaic_proto::link::Verdict;
use mosaic_proto::wire::Lane;

use super::{A, B, Fate, Pair, Shape};

/// One thing that happens to one side, or on its way to the other.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Send {
        side: usize,
        size: usize,
    },
    Call {
        side: usize,
        size: usize,
        deadline: Option<u64>,
    },
    Express {
        side: usize,
        size: usize,
        reply: bool,
    },
    Cancel {
        side: usize,
        back: usize,
    },
    Withdraw {
        side: usize,
        back: usize,
    },
    Consume {
        side: usize,
        count: usize,
    },
    Reply {
        side: usize,
        back: usize,
        size: usize,
    },
    Handlers {
        side: usize,
        consumes: bool,
        answers: bool,
    },
    Cut {
        lane: usize,
        arriving: [usize; 2],
    },
    CutBoth {
        arriving: [usize; 2],
    },
    Pause {
        lane: usize,
        side: usize,
    },
    Resume,
    Dials {
        side: usize,
        fate: Fate,
        delay: u64,
    },
    Delay {
        side: usize,
        delay: u64,
    },
    Wait {
        milliseconds: u64,
    },
    StandStill {
        side: usize,
        milliseconds: u64,
    },
    Connect {
        side: usize,
    },
    /// The context's other links take most of its budget, or give it back.
    Borrow {
        side: usize,
    },
    GiveBack {
        side: usize,
    },
    /// A handler sends.
    Nested {
        side: usize,
        size: usize,
        reply: bool,
    },
    /// Requests wait until handlers end, or wait for none any more.
    Saturate {
        side: usize,
    },
    Relieve {
        side: usize,
    },
}

/// Bytes as small numbers, zeros once they are used up.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> usize {
        self.0.split_off_first().map_or(0, |&byte| usize::from(byte))
    }

    fn two(&mut self) -> usize {
        self.byte() << 8 | self.byte()
    }

    fn side(&mut self) -> usize {
        self.byte() % 2
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A message of up to 2 MB, mostly small.
    fn size(&mut self) -> usize {
        let (bytes, scale) = (self.two(), self.byte());
        8 + (bytes << [0, 0, 0, 1, 3, 5][scale % 6])
    }

    fn milliseconds(&mut self, most: usize) -> u64 {
        (self.two() % most) as u64
    }
}

impl Step {
    /// The steps that these bytes stand for. Any bytes stand for some.
    pub fn read(bytes: &[u8]) -> Vec<Step> {
        let mut from = Numbers(bytes);
        let mut steps = Vec::new();
        while !from.0.is_empty() && steps.len() < 80 {
            steps.push(Step::next(&mut from));
        }
        steps
    }

    fn next(from: &mut Numbers<'_>) -> Step {
        let kind = from.byte() % 22;
        let side = from.side();
        match kind {
            0 => Step::Send { side, size: from.size() },
            1 => {
                let deadline = from.flag().then(|| from.milliseconds(100));
                Step::Call { side, deadline, size: from.size() }
            }
            2 => Step::Express { side, reply: from.flag(), size: 8 + from.two() },
            3 => Step::Cancel { side, back: from.byte() % 6 },
            4 => Step::Withdraw { side, back: from.byte() % 6 },
            5 => Step::Consume { side, count: 1 + from.byte() % 8 },
            6 => Step::Reply { side, back: from.byte() % 8, size: from.size() },
            7 => Step::Handlers { side, consumes: from.flag(), answers: from.flag() },
            8 => Step::Cut { lane: side, arriving: [from.two(), from.two()] },
            9 => Step::CutBoth { arriving: [from.two(), from.two()] },
            10 => Step::Pause { side, lane: from.side() },
            11 => Step::Resume,
            12 => {
                let fate = if from.flag() { Fate::Silence } else { Fate::Connects };
                Step::Dials { side, fate, delay: from.milliseconds(300) }
            }
            13 => Step::Delay { side, delay: from.milliseconds(50) },
            14 => Step::Wait { milliseconds: from.milliseconds(6000) },
            15 => Step::StandStill { side, milliseconds: from.milliseconds(6000) },
            16 => Step::Connect { side },
            17 => Step::Borrow { side },
            18 => Step::GiveBack { side },
            19 => Step::Nested { side, reply: from.flag(), size: from.size() },
            20 => Step::Saturate { side },
            _ => Step::Relieve { side },
        }
    }
}

/// Does one step.
fn take(pair: &mut Pair, step: Step) {
    let milliseconds = Duration::from_millis;
    match step {
        Step::Send { side, size } => {
            pair.one_way(side, size);
        }
        Step::Call { side, size, deadline } => {
            let deadline = deadline.map(milliseconds);
            pair.send(side, Shape { deadline, ..Shape::call(size) });
        }
        Step::Express { side, size, reply } => {
            pair.send(side, Shape { reply, ..Shape::one_way(size).express() });
        }
        Step::Cancel { side, back } => {
            let tag = pair.sides[side].newest(back);
            tag.map(|tag| pair.cancel(side, tag));
        }
        Step::Withdraw { side, back } => {
            let tag = pair.sides[side].newest(back);
            tag.map(|tag| pair.withdraw(side, tag));
        }
        Step::Consume { side, count } => pair.consume_oldest(side, count),
        Step::Reply { side, back, size } => {
            let heard = pair.sides[side].heard.iter().rev().filter(|heard| heard.wants_reply).nth(back);
            if let Some(tag) = heard.map(|heard| heard.tag) {
                pair.reply(side, tag, size);
            }
        }
        Step::Handlers { side, consumes, answers } => {
            pair.sides[side].consumes = consumes;
            pair.sides[side].answers = answers.then_some(8);
        }
        Step::Cut { lane, arriving } => {
            pair.cut(Lane::ALL[lane], arriving);
        }
        Step::CutBoth { arriving } => {
            for lane in Lane::ALL {
                pair.cut(lane, arriving);
            }
        }
        Step::Pause { lane, side } => pair.conditions.paused[lane][side] = true,
        Step::Resume => pair.conditions.paused = [[false; 2]; 2],
        Step::Dials { side, fate, delay } => {
            pair.conditions.fate[side] = fate;
            pair.conditions.dial_delay[side] = milliseconds(delay);
        }
        Step::Delay { side, delay } => pair.conditions.delay[side] = milliseconds(delay),
        Step::Wait { milliseconds } => pair.run_for(Duration::from_millis(milliseconds)),
        Step::StandStill { side, milliseconds } => {
            pair.stand_still(side, Duration::from_millis(milliseconds));
        }
        Step::Connect { side } => pair.connect(side),
        Step::Borrow { side } => pair.lend_to_others(side),
        Step::GiveBack { side } => pair.others_give_back(side),
        Step::Nested { side, size, reply } => {
            pair.send(side, Shape { reply, ..Shape::one_way(size).nested() });
        }
        Step::Saturate { side } => pair.saturate(side),
        Step::Relieve { side } => pair.relieve(side),
    }
}

/// The faults stop, handlers run, calls are answered.
fn recover(pair: &mut Pair) {
    pair.conditions.paused = [[false; 2]; 2];
    pair.conditions.fate = [Fate::Connects; 2];
    pair.conditions.dial_delay = [Duration::from_millis(1); 2];
    pair.conditions.delay = [Duration::from_millis(1); 2];
    pair.conditions.capacity = 256 * 1024;
    for side in [A, B] {
        pair.sides[side].consumes = true;
        pair.sides[side].answers = Some(8);
        pair.relieve(side);
    }
    for _ in 0..10 {
        for side in [A, B] {
            pair.others_give_back(side);
            pair.consume_oldest(side, usize::MAX);
            pair.answer_all(side);
        }
        pair.run_for(Duration::from_secs(2));
    }
}

/// Does all steps, lets the faults stop, and checks that everything ends and all that was lent comes back.
pub fn run(budget: u64, capacity: usize, steps: &[Step], goodbye: Option<usize>) {
    let mut pair = Pair::with_budget(budget);
    pair.conditions.capacity = capacity;
    for &step in steps {
        take(&mut pair, step);
    }
    if let Some(side) = goodbye {
        pair.leave(side);
    }
    recover(&mut pair);
    for side in [A, B] {
        pair.sides[side].assert_drained(&pair.sides[1 - side]);
    }
    for side in [A, B] {
        pair.end(side, Verdict::Dead, Reason::Stopped);
        assert_eq!(pair.sides[side].lent(), 0, "what was lent came back");
        assert_eq!(pair.sides[side].link.poll_timeout(), None);
    }
}
