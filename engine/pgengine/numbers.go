package pgengine

import (
	"context"
	"sync"
)

// numberBlock is the increment of the sequence: so many numbers a process takes
// at once, and hands out itself.
const numberBlock = 65536

// numbers hands out the numbers of jobs, events and claims: each once in a store,
// and those of a process in ascending order.
type numbers struct {
	mu   sync.Mutex
	next int64
	end  int64
}

// take returns the first of n numbers in a row.
func (e *Engine) take(ctx context.Context, n int) (int64, error) {
	s := &e.numbers
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end-s.next < int64(n) {
		blocks := (n + numberBlock - 1) / numberBlock
		var first, last int64
		for i := range blocks {
			var start int64
			if err := e.pool.QueryRow(ctx, e.sql("SELECT nextval('toot.numbers')"), e.mode).Scan(&start); err != nil {
				return 0, err
			}
			if i == 0 || start != last+numberBlock {
				first = start // of blocks that follow each other
			}
			last = start
		}
		if last-first != int64(blocks-1)*numberBlock {
			return 0, errMoved // the blocks of several processes are mixed
		}
		s.next, s.end = first, last+numberBlock
	}
	first := s.next
	s.next += int64(n)
	return first, nil
}
