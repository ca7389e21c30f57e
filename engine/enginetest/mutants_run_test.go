package enginetest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// caughtBy names for each bug checks that must fail on a store that has it.
var caughtBy = map[bug][]string{
	pushNotAtomic:         {"Push/of_an_invalid_job_stores_nothing"},
	identitiesRunTogether: {"Push/tells_identities_apart"},
	bodyAsText:            {"Push/keeps_every_byte"},
	losesMeta:             {"Push/keeps_every_byte"},
	forgetsDone:           {"Push/again_is_a_no_op_when_the_job_is_done", "Push/again_is_a_no_op_through_another_engine"},
	dedupeForever:         {"Push/again_is_a_job_when_the_window_has_passed"},
	ignoresDelay:          {"Push/keeps_a_delay"},
	leasedPushNotClaimed:  {"Push/under_a_lease_gives_a_ticket_that_works"},
	claimsNotCounted:      {"Claim/tells_attempt_history_and_claims"},
	unfairClaim:           {"Claim/lets_no_huge_lane_starve_small_ones", "Claim/gives_lanes_equal_shares", "Claim/gives_no_lane_a_second_share_before_all_had_one"},
	lastInFirstOut:        {"Claim/keeps_the_order_of_a_lane"},
	youngestLaneFirst:     {"Claim/serves_the_oldest_lanes_first"},
	ignoresLimits:         {"Claim/keeps_to_Limits"},
	emptyOnlyIsAll:        {"Claim/keeps_to_Only"},
	nextIgnoresLeases:     {"Next/is_never_later_than_the_end_of_a_lease"},
	nextOnlyNow:           {"Next/leads_to_every_job", "Next/is_never_later_than_a_delayed_job"},
	nextAlwaysZero:        {"Next/is_never_later_than_a_delayed_job"},
	staleSettles:          {"Lease/taken_over_makes_the_old_ticket_stale", "Lease/taken_over_and_settled_makes_the_old_ticket_stale", "Lease/taken_over_elsewhere_makes_the_old_ticket_stale"},
	ticketNotSpent:        {"Settle/twice_changes_nothing", "Settle/twice_in_one_call_changes_nothing"},
	staleStopsBatch:       {"Settle/of_good_tickets_works_beside_stale_ones"},
	settleNotAtomic:       {"Follow/ups_that_are_invalid_stop_the_outcome"},
	lateIsStale:           {"Lease/that_ended_does_not_matter_before_a_takeover"},
	followForStale:        {"Follow/ups_of_a_stale_outcome_do_not_appear"},
	losesFollowUps:        {"Follow/ups_may_be_many"},
	extendKeepsTicket:     {"Lease/extended_makes_the_old_ticket_stale"},
	releaseIgnoresAfter:   {"Settle/Release_gives_the_job_back_unchanged"},
	releaseBumpsAttempt:   {"Settle/Release_gives_the_job_back_unchanged"},
	releaseCountsClaim:    {"Settle/Release_gives_the_job_back_unchanged"},
	burySameAsDone:        {"DeadLetters/tell_everything_about_a_job"},
	deferNotShared:        {"Defer/keeps_other_engines_out"},
	deferOnlyGrows:        {"Defer/replaces_the_call_before"},
	deferNeedsJobs:        {"Defer/of_a_lane_without_jobs_holds"},
	addAlwaysNew:          {"Subscribers/added_by_many_at_once_are_new_to_one"},
	emptyChannelsStay:     {"Subscribers/are_removed_once"},
	subscribersCached:     {"Subscribers/changed_by_another_engine_are_seen"},
	prefixIsPattern:       {"Subscribers/are_listed_by_a_prefix_that_is_no_pattern"},
	oldestDeadFirst:       {"DeadLetters/list_the_most_recently_buried_first"},
	deadNeverTrimmed:      {"DeadLetters/are_kept_up_to_DeadMax"},
	pagingIgnored:         {"DeadLetters/are_listed_page_by_page"},
	reasonCaseSensitive:   {"DeadLetters/match_every_filter"},
	deadFiltersAnyOf:      {"DeadLetters/match_every_filter"},
	redriveDoubles:        {"DeadLetters/are_redriven_once"},
	redriveKeepsAttempt:   {"DeadLetters/can_be_redriven"},
	redriveLosesHistory:   {"DeadLetters/can_be_redriven"},
	discardForgets:        {"Push/again_is_a_no_op_when_the_job_is_discarded"},
	leasedCountAsWaiting:  {"Inspector/counts_what_a_lane_holds"},
	deferredLanesHidden:   {"Inspector/lists_deferred_lanes"},
	neverHints:            {"Watch/calls_for_a_push"},
	hintsNotShared:        {"Watch/calls_for_a_push_of_another_engine"},
	stopDoesNotStop:       {"Watch/stops"},
	worksAfterClose:       {"Close/ends_every_method_with_ErrClosed"},
	ignoresContext:        {"Context/that_has_ended_ends_every_call"},
	closeTwiceFails:       {"Close/twice_is_harmless"},
	losesOnClose:          {"Close/keeps_everything"},
	eventGoesWithFirstJob: {"Push/keeps_an_event_while_any_job_needs_it", "DeadLetters/keep_their_event", "Shared/engines_keep_an_event_that_the_other_needs"},
	laneNotInIdentity:     {"Push/of_the_same_event_to_another_lane_is_another_job", "Push/stores_every_job_of_a_call", "Follow/ups_inherit_the_event"},
	pushOverwrites:        {"Push/again_is_a_no_op_while_the_job_waits", "Push/again_is_a_no_op_while_the_job_is_leased", "Push/again_is_a_no_op_while_the_job_is_to_be_retried", "Push/of_a_job_twice_in_a_call_stores_it_once", "Push/by_many_at_once_stores_a_job_once", "Push/returns_its_tickets_in_order", "Push/again_is_a_no_op_through_another_engine", "Follow/ups_that_are_already_there_are_left_alone"},
	forgetsDead:           {"Push/again_is_a_no_op_when_the_job_is_buried", "Close/keeps_dead_letters"},
	leasesNeverEnd:        {"Push/under_a_lease_hides_the_job_until_it_ends", "Lease/keeps_others_away_until_it_ends", "Lease/taken_over_and_settled_makes_the_old_ticket_stale", "Lease/taken_over_elsewhere_makes_the_old_ticket_stale", "Shared/engines_take_over_when_a_lease_ends", "Context/that_ends_leaves_the_engine_usable", "Many/workers_do_every_job_once"},
	leasesIgnored:         {"Claim/hands_out_each_job_once", "Lease/is_had_by_one_of_many", "Shared/engines_never_have_the_same_job", "Lease/extended_keeps_others_away"},
	acceptsInvalid:        {"Claim/with_an_invalid_request_is_refused", "Settle/of_an_unknown_result_changes_nothing", "Defer/of_an_invalid_lane_is_refused"},
	orderOfPushes:         {"Claim/keeps_the_order_in_which_jobs_become_due"},
	ignoresMaxPerLane:     {"Claim/keeps_to_MaxPerLane", "Next/is_zero_when_a_lane_limit_left_jobs_behind"},
	kindsMixed:            {"Claim/keeps_kinds_apart"},
	ageSinceClaim:         {"Claim/tells_the_age"},
	nextIgnoresLeftBehind: {"Next/is_zero_when_Max_left_jobs_behind", "Next/is_zero_when_a_lane_limit_left_jobs_behind"},
	nextIgnoresDeferral:   {"Next/is_never_later_than_the_end_of_a_deferral"},
	nextIgnoresRequest:    {"Next/does_not_make_callers_spin_for_a_lane_left_out"},
	nextNeverNegative:     {"Claim/of_an_empty_store_finds_nothing", "Next/is_negative_again_when_all_is_done"},
	retryIgnoresAfter:     {"Settle/Retry_makes_the_job_due_later"},
	historyAsText:         {"Settle/keeps_the_bytes_of_a_history"},
	doneReturns:           {"Settle/Done_removes_the_job", "Settle/Bury_takes_the_job_out_of_its_lane"},
	anyTicketWorks:        {"Settle/of_a_garbage_ticket_changes_nothing"},
	ticketsOfOneEngine:    {"Settle/works_through_another_engine"},
	extendOnlyGrows:       {"Lease/extended_may_end_earlier"},
	followIgnoresLease:    {"Follow/ups_under_a_lease_give_tickets_that_work", "Follow/ups_keep_their_delay"},
	followLosesEvent:      {"Follow/ups_inherit_the_event", "Follow/ups_appear_with_every_result"},
	followAlwaysOwn:       {"Follow/ups_may_have_an_event_of_their_own"},
	followNoHint:          {"Watch/calls_for_follow_ups", "Watch/calls_for_follow_ups_of_another_engine"},
	hintsFirstOnly:        {"Watch/calls_every_watcher"},
	stopAfterCloseHangs:   {"Watch/stops_after_Close"},
	deferIgnored:          {"Defer/keeps_everyone_out_until_it_is_over", "Defer/holds_when_the_lane_runs_empty"},
	deferNotLifted:        {"Defer/is_lifted_by_zero_or_less"},
	deferWholeKind:        {"Defer/leaves_other_lanes_alone"},
	deferStopsPush:        {"Defer/lets_jobs_be_pushed"},
	deferStopsSettle:      {"Defer/lets_claimed_jobs_be_settled"},
	oneChannel:            {"Subscribers/belong_to_one_channel"},
	channelsLowerCase:     {"Subscribers/keep_every_character"},
	subscribersBounded:    {"Subscribers/may_be_many"},
	addNeverNew:           {"Subscribers/are_added_once"},
	prefixAnywhere:        {"Subscribers/are_listed_by_the_prefix_of_their_channels"},
	deadUnlimited:         {"DeadLetters/are_listed_a_hundred_at_a_time"},
	deadNeverAges:         {"DeadLetters/are_kept_up_to_DeadAge"},
	discardsNothing:       {"DeadLetters/can_be_discarded", "DeadLetters/are_shared"},
	reasonOfFirstBury:     {"DeadLetters/can_be_redriven_and_buried_again"},
	lanesUnordered:        {"Inspector/lists_lanes_in_order"},
	deadLanesHidden:       {"Inspector/lists_lanes_with_dead_letters"},
	lanesStay:             {"Inspector/forgets_lanes_that_nothing_refers_to", "Many/workers_do_every_job_once"},
	oldestIsFirstDue:      {"Inspector/tells_the_age_of_the_oldest_job"},
	lanesNeverEmpty:       {"Inspector/of_an_empty_store_has_no_lanes"},
	losesOnCrash:          {"Close/is_not_needed_to_keep_everything"},
	forgetsOnClose:        {"Close/keeps_everything", "Close/keeps_the_dedupe_window"},
	closeLosesCalls:       {"Close/waits_for_calls_under_way"},
	closesOthers:          {"Shared/engines_may_be_closed_one_by_one"},
	pushNotShared:         {"Shared/engines_claim_what_the_other_pushed"},
	largeBodiesCut:        {"Push/keeps_a_body_of_1_MiB"},
	proofsAsText:          {"Credentials/keep_every_byte"},
	realmsRunTogether:     {"Credentials/belong_to_one_realm"},
	putKeepsOld:           {"Credentials/are_replaced"},
	removeNeverFinds:      {"Credentials/are_removed_once"},
	usernamesUnordered:    {"Credentials/are_listed_in_order"},
	credentialsNotShared:  {"Credentials/are_shared_and_survive"},
	swapBlind:             {"Attributes/are_swapped_only_for_what_was_there"},
	swapNotAtomic:         {"Attributes/swapped_by_many_at_once_lose_nothing"},
	swapNeverDeletes:      {"Attributes/are_deleted"},
	attributesAreChannels: {"Attributes/are_no_channels"},
	attributesNotShared:   {"Attributes/are_shared_and_survive"},
	memoryKeepsLast:       {"Memory/keeps_the_first_of_several"},
	memoryNotAtomic:       {"Memory/asked_by_many_at_once_answers_all_alike"},
	memoryForever:         {"Memory/is_over_some_time"},
	memoryProlonged:       {"Memory/is_over_some_time"},
	memoryTooShort:        {"Memory/is_over_some_time"},
	memoryNotShared:       {"Memory/is_shared_and_survives"},
	emptyNamesTaken:       {"Credentials/without_a_name_are_refused", "Attributes/without_a_name_are_refused", "Memory/without_key_value_or_time_is_refused"},
	emptyCallsFail:        {"Push/of_nothing_is_fine", "Settle/of_nothing_is_fine"},
}

// TestSuiteCatches proves that the suite can fail: each broken store is
// caught by the check that is about its bug.
func TestSuiteCatches(t *testing.T) {
	all := map[string]check{}
	for _, g := range groups {
		for _, c := range g.checks {
			if _, twice := all[g.name+"/"+c.name]; twice {
				t.Errorf("two checks are named %s/%s", g.name, c.name)
			}
			all[g.name+"/"+c.name] = c
		}
	}
	var wg sync.WaitGroup
	for b, names := range caughtBy {
		for _, name := range names {
			c, ok := all[name]
			if !ok {
				t.Errorf("%q: there is no check %s", b, name)
				continue
			}
			// All at once: most of what they do is wait.
			wg.Go(func() {
				if failures := try(t, c, b); len(failures) == 0 {
					t.Errorf("%q: %s does not fail", b, name)
				} else {
					t.Logf("%q: %s: %.300s", b, name, failures[0])
				}
			})
		}
	}
	wg.Wait()
}

// try runs a check on a store with a bug and returns how it failed.
func try(t *testing.T, c check, b bug) []string {
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() { // Fatal ends the goroutine
		defer close(ended)
		defer r.cleanUp()
		c.run(newEnv(r, memHarness(b), 2*time.Second))
	}()
	<-ended
	return r.failures
}

// recorder is a test that fails without consequences.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) cleanUp() {
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		f := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		f()
	}
}

func (r *recorder) fail(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, strings.TrimSpace(message))
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.fail("failed") }
func (r *recorder) FailNow()                          { r.fail("failed"); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.fail(fmt.Sprintln(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
