package enginetest

import (
	"bytes"
	"context"
	"time"
)

var memoryMutants = []mutant{
	{
		bug: "what is remembered is kept as text",
		with: func(b *broken) {
			remember := b.remember
			b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				return remember(ctx, key, bytes.ToValidUTF8(value, []byte("?")), d)
			}
		},
		caughtBy: []string{"Memory/keeps_every_byte"},
	},
	{
		bug: "Remember keeps the last value",
		with: func(b *broken) {
			b.remember = func(_ context.Context, _ string, value []byte, _ time.Duration) ([]byte, error) { return value, nil }
		},
		caughtBy: []string{"Memory/keeps_the_first_of_several"},
	},
	{
		bug: "Remember looks in one step and keeps in another",
		with: func(b *broken) {
			b.remember = func(_ context.Context, key string, value []byte, _ time.Duration) ([]byte, error) {
				unlock := b.lock()
				kept, there := b.s.text[key]
				unlock()
				if there {
					return []byte(kept), nil
				}
				time.Sleep(time.Millisecond)
				defer b.lock()()
				b.s.text[key] = string(value)
				return value, nil
			}
		},
		caughtBy: []string{"Memory/asked_by_many_at_once_answers_all_alike"},
	},
	{
		bug:      "what is remembered stays for good",
		with:     func(b *broken) { b.twistMemory(func(d time.Duration) time.Duration { return d + long }) },
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug: "Remember keeps a value as long as it is asked for",
		with: func(b *broken) {
			until := map[string]time.Time{}
			b.remember = func(_ context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				defer b.lock()()
				if !time.Now().Before(until[key]) {
					b.s.text[key] = string(value)
				}
				until[key] = time.Now().Add(d)
				return []byte(b.s.text[key]), nil
			}
		},
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug:      "what is remembered is forgotten too early",
		with:     func(b *broken) { b.twistMemory(func(d time.Duration) time.Duration { return (d + 1) / 2 }) },
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug: "what is remembered is known to one engine only",
		with: func(b *broken) {
			remember := b.remember
			b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				return remember(ctx, b.name()+key, value, d)
			}
		},
		caughtBy: []string{"Memory/is_shared_and_survives"},
	},
}

func (b *broken) twistMemory(twist func(time.Duration) time.Duration) {
	remember := b.remember
	b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
		return remember(ctx, key, value, twist(d))
	}
}
