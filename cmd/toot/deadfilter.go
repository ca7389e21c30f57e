package main

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// deadFilter selects dead letters.
type deadFilter struct {
	channel, lane, kind, reason, since, until string
	limit                                     int
	query                                     engine.DeadQuery // what check made of it
}

func (f *deadFilter) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.channel, "channel", "", "only those of this channel, by its full name")
	flags.StringVar(&f.lane, "lane", "", "only those of this callback URL or subscription, as toot dead show prints it")
	flags.StringVar(&f.lane, "url", "", "the same as --lane")
	flags.StringVar(&f.kind, "kind", "", "only this kind: deliver or handle")
	flags.StringVar(&f.reason, "reason", "", "only those with this text in the reason, upper and lower case alike")
	flags.StringVar(&f.since, "since", "", "only those buried since a time (2026-11-23, 2026-11-23T09:00:00Z), or within an age (90m, 2d)")
	flags.StringVar(&f.until, "until", "", "only those buried until then, given as for --since")
}

func (f *deadFilter) any() bool {
	return f.channel+f.lane+f.kind+f.reason+f.since+f.until != "" || f.limit != 0
}

// check reads the flags.
func (f *deadFilter) check([]string) error {
	f.query = engine.DeadQuery{Channel: f.channel, Reason: f.reason}
	switch f.kind {
	case "":
	case engine.Deliver.String():
		f.query.Kind = engine.Deliver
	case engine.Handle.String():
		f.query.Kind = engine.Handle
	default:
		return usagef("--kind is deliver or handle, not %q", f.kind)
	}
	if f.limit < 0 {
		return usagef("--limit must not be negative")
	}
	var err error
	if f.query.Since, err = parseWhen("--since", f.since); err != nil {
		return err
	}
	f.query.Until, err = parseWhen("--until", f.until)
	return err
}

// find returns what matches, the most recently buried first.
func (f *deadFilter) find(ctx context.Context, s *openStore) iter.Seq2[*toot.DeadLetter, error] {
	const page = 500
	return func(yield func(*toot.DeadLetter, error) bool) {
		query, found := f.query, 0
		query.Max = page
		for {
			letters, err := s.DeadLetters(ctx, query)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range letters {
				// The lane is compared here, because what people have seen of
				// it is without its credentials.
				if l := &letters[i]; f.lane == "" || f.lane == l.Lane || f.lane == l.RedactedLane {
					if !yield(l, nil) {
						return
					}
					if found++; found == f.limit {
						return
					}
				}
			}
			if len(letters) < page {
				return
			}
			query.After = letters[len(letters)-1].ID
		}
	}
}

// deadByID returns the dead letters with some IDs.
func deadByID(ctx context.Context, s *openStore, ids []string) (map[string]*toot.DeadLetter, error) {
	letters, err := s.DeadLetters(ctx, engine.DeadQuery{IDs: ids, Max: len(ids)})
	if err != nil {
		return nil, err
	}
	found := make(map[string]*toot.DeadLetter, len(letters))
	for i := range letters {
		found[letters[i].ID] = &letters[i]
	}
	return found, nil
}

// parseWhen reads a time, or an age that is subtracted from now.
func parseWhen(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return time.Now().AddDate(0, 0, -n), nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return time.Now().Add(-age), nil
	}
	return time.Time{}, usagef("%s: %q is not a time such as 2026-11-23 or 2026-11-23T09:00:00Z, nor an age such as 90m or 2d", flag, text)
}
