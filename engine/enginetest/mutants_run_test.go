package enginetest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// caughtBy names for each bug a check that must fail on a store that has it.
var caughtBy = map[bug]string{
	pushNotAtomic:         "Push/of_an_invalid_job_stores_nothing",
	identitiesRunTogether: "Push/tells_identities_apart",
	bodyAsText:            "Push/keeps_every_byte",
	losesMeta:             "Push/keeps_every_byte",
	forgetsDone:           "Push/again_is_a_no_op_when_the_job_is_done",
	dedupeForever:         "Push/again_is_a_job_when_the_window_has_passed",
	ignoresDelay:          "Push/keeps_a_delay",
	leasedPushNotClaimed:  "Push/under_a_lease_gives_a_ticket_that_works",
	claimsNotCounted:      "Claim/tells_attempt_history_and_claims",
	unfairClaim:           "Claim/lets_no_huge_lane_starve_small_ones",
	lastInFirstOut:        "Claim/keeps_the_order_of_a_lane",
	youngestLaneFirst:     "Claim/serves_the_oldest_lanes_first",
	ignoresLimits:         "Claim/keeps_to_Limits",
	emptyOnlyIsAll:        "Claim/keeps_to_Only",
	nextIgnoresLeases:     "Next/is_never_later_than_the_end_of_a_lease",
	nextAlwaysZero:        "Next/is_never_later_than_a_delayed_job",
	staleSettles:          "Lease/taken_over_makes_the_old_ticket_stale",
	ticketNotSpent:        "Settle/twice_changes_nothing",
	staleStopsBatch:       "Settle/of_good_tickets_works_beside_stale_ones",
	settleNotAtomic:       "Follow/ups_that_are_invalid_stop_the_outcome",
	lateIsStale:           "Lease/that_ended_does_not_matter_before_a_takeover",
	followForStale:        "Follow/ups_of_a_stale_outcome_do_not_appear",
	losesFollowUps:        "Follow/ups_may_be_many",
	extendKeepsTicket:     "Lease/extended_makes_the_old_ticket_stale",
	releaseIgnoresAfter:   "Settle/Release_gives_the_job_back_unchanged",
	releaseBumpsAttempt:   "Settle/Release_gives_the_job_back_unchanged",
	burySameAsDone:        "DeadLetters/tell_everything_about_a_job",
	deferNotShared:        "Defer/keeps_other_engines_out",
	deferOnlyGrows:        "Defer/replaces_the_call_before",
	deferNeedsJobs:        "Defer/of_a_lane_without_jobs_holds",
	addAlwaysNew:          "Subscribers/added_by_many_at_once_are_new_to_one",
	emptyChannelsStay:     "Subscribers/are_removed_once",
	subscribersCached:     "Subscribers/changed_by_another_engine_are_seen",
	prefixIsPattern:       "Subscribers/are_listed_by_a_prefix_that_is_no_pattern",
	oldestDeadFirst:       "DeadLetters/list_the_most_recently_buried_first",
	deadNeverTrimmed:      "DeadLetters/are_kept_up_to_DeadMax",
	pagingIgnored:         "DeadLetters/are_listed_page_by_page",
	reasonCaseSensitive:   "DeadLetters/match_every_filter",
	deadFiltersAnyOf:      "DeadLetters/match_every_filter",
	redriveDoubles:        "DeadLetters/are_redriven_once",
	redriveKeepsAttempt:   "DeadLetters/can_be_redriven",
	redriveLosesHistory:   "DeadLetters/can_be_redriven",
	discardForgets:        "Push/again_is_a_no_op_when_the_job_is_discarded",
	leasedCountAsWaiting:  "Inspector/counts_what_a_lane_holds",
	deferredLanesHidden:   "Inspector/lists_deferred_lanes",
	neverHints:            "Watch/calls_for_a_push",
	hintsNotShared:        "Watch/calls_for_a_push_of_another_engine",
	stopDoesNotStop:       "Watch/stops",
	worksAfterClose:       "Close/ends_every_method_with_ErrClosed",
	ignoresContext:        "Context/that_has_ended_ends_every_call",
	closeTwiceFails:       "Close/twice_is_harmless",
	losesOnClose:          "Close/keeps_everything",
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
	for b, name := range caughtBy {
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
				t.Logf("%q: %s", b, failures[0])
			}
		})
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
