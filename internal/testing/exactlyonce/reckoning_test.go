package exactlyonce

import (
	"maps"
	"slices"
	"testing"
)

// TestTheReckoningFindsWhatIsWrong: books that are right are found right, and one
// thing that is changed in them is found.
func TestTheReckoningFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(banks *[2]ledger)
		wrong  int
	}{
		{"nothing", func(*[2]ledger) {}, 0},
		{"a credit is missing", func(b *[2]ledger) { b[1].credits = b[1].credits[1:] }, 1},
		{"and its money", func(b *[2]ledger) {
			b[1].balances[b[1].credits[0].Payee] -= b[1].credits[0].Cents
			b[1].credits = b[1].credits[1:]
		}, 2},
		{"a transfer is credited twice", func(b *[2]ledger) {
			b[0].balances[b[0].credits[0].Payee] += b[0].credits[0].Cents
			b[0].credits = append(b[0].credits, b[0].credits[0])
		}, 2},
		{"one that was never made is credited", func(b *[2]ledger) { b[0].credits = append(b[0].credits, Transfer{ID: 99, Payee: 1, Cents: 5}) }, 1},
		{"one goes to another account", func(b *[2]ledger) { b[1].credits[0].Payee++ }, 1},
		{"one has another amount", func(b *[2]ledger) { b[1].credits[0].Cents++ }, 1},
		{"a cent too much", func(b *[2]ledger) { b[0].balances[0]++ }, 1},
		{"a cent moves to another account", func(b *[2]ledger) { b[0].balances[0]++; b[0].balances[1]-- }, 2},
		{"an account is gone", func(b *[2]ledger) { delete(b[1].balances, accounts-1) }, 1},
		{"there is an account too many", func(b *[2]ledger) { b[1].balances[accounts] = 1 }, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			banks := balancedBooks()
			c.change(&banks)
			if wrong := reckon(banks); len(wrong) != c.wrong {
				t.Errorf("found wrong: %q", wrong)
			}
		})
	}
}

// balancedBooks are those of two banks after three transfers in each direction.
func balancedBooks() (banks [2]ledger) {
	for i := range banks {
		banks[i] = ledger{balances: map[int64]int64{}, debits: map[int64]Transfer{}}
		for account := range int64(accounts) {
			banks[i].balances[account] = openingCents
		}
	}
	for i := range banks {
		for n := range int64(3) {
			d := Transfer{ID: 10*int64(i) + n, Payer: n, Payee: n + 1, Cents: 100 + n}
			banks[i].debits[d.ID] = d
			banks[i].balances[d.Payer] -= d.Cents
			banks[1-i].balances[d.Payee] += d.Cents
		}
		for _, id := range slices.Sorted(maps.Keys(banks[i].debits)) {
			d := banks[i].debits[id]
			banks[1-i].credits = append(banks[1-i].credits, Transfer{ID: id, Payee: d.Payee, Cents: d.Cents})
		}
	}
	return banks
}
