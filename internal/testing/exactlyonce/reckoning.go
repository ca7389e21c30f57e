package exactlyonce

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/outbox"
)

// ledger is what a bank's books say in the end.
type ledger struct {
	balances map[int64]int64 // cents by account
	debits   map[int64]Transfer
	credits  []Transfer // without payers
}

// reckon compares the ledgers of two banks. What they have debited is the truth:
// each of these transfers is to have been credited once by the other, and nothing
// else, and each account is to have what it had at first, less its debits, and
// what the other bank has debited for it. It says what is wrong.
func reckon(banks [2]ledger) (wrong []string) {
	for i, bank := range banks {
		other := banks[1-i]
		credited := map[int64]int{}
		for _, c := range bank.credits {
			credited[c.ID]++
			switch d, ok := other.debits[c.ID]; {
			case !ok:
				wrong = append(wrong, fmt.Sprintf("bank %d credited transfer %d, which was never made", i, c.ID))
			case d.Payee != c.Payee || d.Cents != c.Cents:
				wrong = append(wrong, fmt.Sprintf("bank %d credited transfer %d as %+v, but it is %+v", i, c.ID, c, d))
			}
		}
		expected := map[int64]int64{}
		for account := range int64(accounts) {
			expected[account] = openingCents
		}
		for _, d := range bank.debits {
			expected[d.Payer] -= d.Cents
		}
		for id, d := range other.debits {
			expected[d.Payee] += d.Cents
			if n := credited[id]; n != 1 {
				wrong = append(wrong, fmt.Sprintf("bank %d credited transfer %d %d times", i, id, n))
			}
		}
		for account, cents := range expected {
			if has := bank.balances[account]; has != cents {
				wrong = append(wrong, fmt.Sprintf("account %d of bank %d has %d cents rather than %d", account, i, has, cents))
			}
		}
		for account := range bank.balances {
			if _, ok := expected[account]; !ok {
				wrong = append(wrong, fmt.Sprintf("account %d of bank %d was never opened", account, i))
			}
		}
	}
	return wrong
}

// openDB opens a bank's database for whoever looks at it from outside.
func openDB(b Bank) (*sql.DB, error) {
	if b.Driver == PGX {
		return sql.Open("pgx", b.Source)
	}
	return sql.Open(b.Driver, b.Source)
}

// prepare makes the tables of a bank, and opens its accounts.
func prepare(ctx context.Context, b Bank) error {
	db, err := openDB(b)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	out, err := outbox.Schema(b.Dialect, "")
	if err != nil {
		return err
	}
	in, err := inbox.Schema(b.Dialect, "")
	if err != nil {
		return err
	}
	for _, statement := range slices.Concat(tables, strings.SplitAfter(out, ";\n"), strings.SplitAfter(in, ";\n")) {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	for account := range int64(accounts) {
		query, args := b.Dialect.Statement("INSERT INTO accounts (id, cents) VALUES (?, ?)", account, int64(openingCents))
		if _, err := db.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// readLedger reads the books of a bank.
func readLedger(ctx context.Context, b Bank) (ledger, error) {
	l := ledger{balances: map[int64]int64{}, debits: map[int64]Transfer{}}
	db, err := openDB(b)
	if err != nil {
		return l, err
	}
	defer func() { _ = db.Close() }()
	var n, cents int64
	var t Transfer
	return l, errors.Join(
		each(ctx, db, "SELECT id, cents FROM accounts", func() { l.balances[n] = cents }, &n, &cents),
		each(ctx, db, "SELECT id, payer, payee, cents FROM debits", func() { l.debits[t.ID] = t }, &t.ID, &t.Payer, &t.Payee, &t.Cents),
		each(ctx, db, "SELECT id, payee, cents FROM credits", func() {
			l.credits = append(l.credits, Transfer{ID: t.ID, Payee: t.Payee, Cents: t.Cents})
		}, &t.ID, &t.Payee, &t.Cents),
	)
}

// each calls do for each row, whose columns lie in vars then.
func each(ctx context.Context, db *sql.DB, query string, do func(), vars ...any) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(vars...); err != nil {
			return err
		}
		do()
	}
	return rows.Err()
}
