//! Tests that are made from a list: the same functions for several places or servers.

/// Functions of [`crate::support::checks`] as tests of this place.
macro_rules! checks_in {
    ($place:expr; $($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            crate::support::checks::$name($place);
        })*
    };
}

/// The same, where only root can set the scene.
macro_rules! checks_by_root_in {
    ($place:expr; $($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let Some(()) = crate::support::root() else { return };
            crate::support::checks::$name($place);
        })*
    };
}

/// What holds for a PID 1 and for a wrapper.
macro_rules! checks_of_both_places {
    ($place:expr) => {
        $crate::support::tables::checks_in!(
            $place;
            exit_codes_are_the_apps_own,
            death_by_signal_n_is_128_plus_n,
            the_app_starts_as_a_direct_exec_would,
            every_signal_reaches_the_app,
            the_c_librarys_own_signals_reach_the_app,
            queued_signals_arrive_in_number_and_order,
            a_stopped_app_gets_its_stop_signal,
            a_rewritten_signal_is_another_or_none,
            ignored_and_blocked_signals_of_the_parent_break_nothing,
            a_thousand_orphans_leave_no_zombie,
            the_status_survives_a_storm_of_orphans,
            nothing_of_the_apps_is_held,
            idle_is_asleep,
            works_with_16_descriptors,
            its_own_broken_log_is_no_signal_for_the_app,
            stdout_belongs_to_the_app,
            an_unread_log_holds_nothing_up,
        );
        $crate::support::tables::checks_by_root_in!(
            $place;
            an_app_that_may_not_be_signalled_is_survived,
            works_without_privileges,
            works_alone_in_an_empty_root,
        );
    };
}

/// A module for each server, with these functions of the theme as its tests.
macro_rules! servers {
    ($($name:ident: $server:expr, [$($test:ident)*];)*) => {$(
        mod $name {
            use super::*;

            $(#[test]
            fn $test() {
                super::$test(&$server);
            })*
        }
    )*};
}

pub(crate) use {checks_by_root_in, checks_in, checks_of_both_places, servers};
