// Starts GraphiQL on the endpoint that this page came from, with a tab for each step of an export.
"use strict";

const now = Math.floor(Date.now() / 1000);

const tabs = [
  {
    query: `# 1. What can be exported?
query Tables {
  exportTables {
    name
    onDemand
    scheduled
    timeColumn
  }
}
`,
  },
  {
    query: `# 2. Start an export: at most one day that has passed,
# in epoch seconds, see Variables. Without "tables" it has
# all that are offered. The answer is the request's id.
mutation Start($start: Int!, $end: Int!, $tables: [String!]) {
  requestData(startTime: $start, endTime: $end, tables: $tables)
}
`,
    variables: JSON.stringify({ start: now - 2 * 86400, end: now - 86400 }, null, 2),
  },
  {
    query: `# 3. Where is it? The links come with the end.
query Latest {
  requests(first: 1) {
    edges {
      node {
        requestId
        status
        progress
        tables {
          name
          status
          progress
          rows
          error {
            code
            message
          }
        }
        dataRequestDownloadLinks
        linksExpireAt
      }
    }
  }
}
`,
  },
  {
    query: `# 4. Watch one until it ends.
subscription Watch($id: String!) {
  requestProgress(requestId: $id) {
    status
    progress
  }
}
`,
    variables: JSON.stringify({ id: "" }, null, 2),
  },
];

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({
      url: window.location.pathname,
      subscriptionUrl: window.location.origin.replace(/^http/, "ws") + window.location.pathname + "/ws",
    }),
    defaultTabs: tabs,
    defaultEditorToolsVisibility: true,
    shouldPersistHeaders: false,
  }),
);
