//! What must have been seen.

use std::collections::BTreeSet;

macro_rules! situations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A situation that the tests' runs, taken together, must have met: a simulator that no longer gets there
        /// proves nothing about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Situation {
            $($(#[$doc])* $name,)*
        }

        impl Situation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

situations! {
    /// A network was made while some hosts did not hear each other.
    CreatedWhilePartitioned,
    /// A network was deleted while some hosts did not hear each other.
    DeletedWhilePartitioned,
    /// A host asked another one for addresses.
    AddressesAsked,
    /// A host gave addresses away.
    AddressesGiven,
    /// A host that was asked had none to give.
    AddressesRefused,
    /// A container wanted an address that another host owned, and got it later.
    OwnedElsewhereThenGot,
    /// The agent was killed between two effects of one decision.
    KilledBetweenEffects,
    /// dockerd repeated a verb because the agent died over it.
    VerbRepeated,
    /// A write was refused, and what followed in its decision was done later.
    WriteRefused,
    /// Power loss took writes with it.
    WritesLost,
    /// The agent came back after the fabric had changed without it.
    CaughtUp,
    /// A deletion was refused because a container used the network.
    DeleteRefused,
    /// One name was given to two networks.
    NameShared,
    /// A network of Docker was refused because the fabric has its name.
    NameRefused,
    /// Docker's user has a network of another driver under the name of a network of the fabric.
    NameTakenInDocker,
    /// A network was removed from one host only.
    TurnedOff,
    /// It was put back.
    PutBack,
    /// A host was forgotten.
    Forgotten,
    /// A host was forgotten that could not hear of it.
    ForgottenUnheard,
    /// A host took over what was spare of one whose lease had ended.
    TakenOver,
    /// A host took over everything of a forgotten one.
    Inherited,
    /// A host wanted spare addresses back.
    WantedBack,
    /// A certificate was renewed because its issuer was forgotten.
    Renewed,
    /// A host joined after networks had been made.
    JoinedLate,
    /// A host left.
    Left,
    /// A host that had left joined again.
    JoinedAgain,
    /// dockerd died while it made or removed a network, or started or stopped a container.
    EngineDiedAtWork,
    /// dockerd cleaned up after its death without telling the driver of the endpoint.
    EndpointNeverDeleted,
    /// An edit waited because its stamp was ahead of a host's clock.
    EditWaited,
    /// The wall clock went back.
    ClockWentBack,
    /// A clock ran too fast or too slow for a while.
    Drifted,
    /// A host was restored from a backup, and said so.
    Restored,
    /// A host was slow.
    SlowHost,
    /// A link worked in one direction only.
    OneWayLink,
    /// A message was lost because its connection was cut.
    MessageCut,
    /// A datagram arrived twice.
    DatagramTwice,
    /// A container could not start because its network was gone.
    NetworkGone,
}

/// Those of [`Situation::ALL`] that are missing.
pub fn missing(seen: &BTreeSet<Situation>) -> Vec<Situation> {
    Situation::ALL.iter().copied().filter(|situation| !seen.contains(situation)).collect()
}
