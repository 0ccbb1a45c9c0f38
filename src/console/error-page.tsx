import type { FC } from 'hono/jsx';
import { Page } from './layout.tsx';

const TITLES: Readonly<Record<number, string>> = {
  401: 'Signed out',
  403: 'Not allowed',
  404: 'Not found',
  429: 'Too many attempts',
  503: 'Unavailable',
};

export const ErrorPage: FC<{ status: number; message: string }> = ({ status, message }) => (
  <Page title={TITLES[status] ?? 'Something went wrong'}>
    <p>{message}</p>
    <p>
      <a href="/">Back to the start page</a>
    </p>
  </Page>
);
